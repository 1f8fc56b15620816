CREATE TEMPORARY TABLE call_staging (
    callid text COLLATE "C", task_id text, user_id text, customer_id text, started_at timestamptz,
    duration_ms integer, bill_ms integer, rounds integer, level_name text, hangup_by smallint,
    call_status text, phone_cipher bytea, phone_masked text, turns jsonb
) ON COMMIT DROP
;
DELETE FROM analysis_claim WHERE org_id = $1 AND claim = $2
;
DELETE FROM analysis_claim WHERE org_id = $1 AND claim IN (
    SELECT claim FROM analysis_claim
    WHERE org_id = $1 AND lease_until < clock_timestamp() FOR UPDATE SKIP LOCKED)
RETURNING claim
;
DELETE FROM app_user WHERE org_id = $1 AND user_id = $2
;
DELETE FROM login_throttle WHERE subject = $1
;
DELETE FROM login_throttle WHERE subject IN (
               SELECT subject FROM login_throttle
               ORDER BY last_failure DESC, subject OFFSET $1 LIMIT $2
               FOR UPDATE SKIP LOCKED)
;
DELETE FROM login_throttle WHERE subject IN (
               SELECT subject FROM login_throttle WHERE last_failure < $1
               ORDER BY last_failure LIMIT $2 FOR UPDATE SKIP LOCKED)
;
DELETE FROM outbox WHERE id = ANY($1)
;
DELETE FROM refresh_token WHERE token_hash IN (
               SELECT token_hash FROM refresh_token WHERE expires_at < $1
               ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
;
DELETE FROM revocation WHERE (org_id, subject) IN (
               SELECT org_id, subject FROM revocation WHERE expires_at < $1
               ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
;
DELETE FROM search_document WHERE org_id = $1 AND collection = $2
;
DELETE FROM search_document WHERE org_id = $1 AND collection = $2 AND id = ANY($3)
;
DELETE FROM signing_key WHERE kid IN (
               SELECT kid FROM signing_key WHERE retired_at < $1 LIMIT $2)
;
DELETE FROM vector_item WHERE org_id = $1 AND collection = $2
;
DELETE FROM vector_item WHERE org_id = $1 AND collection = $2 AND id = ANY($3)
;
INSERT INTO analysis_claim (org_id, callids, lease_until)
VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3)) RETURNING claim
;
INSERT INTO app_user (org_id, email, name, role, password_hash, created_at, updated_at,
                                  idempotency_key)
            VALUES ($1, $2, $3, $4, $5, $6, $6, $7)
            ON CONFLICT DO NOTHING RETURNING *
;
INSERT INTO audit_log
               (org_id, seq, at, actor, action, target, details, prev_hash, hash)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
;
INSERT INTO call_transcript AS t (org_id, callid, turns)
SELECT $1, callid, turns FROM call_staging WHERE turns IS NOT NULL ORDER BY callid
ON CONFLICT (org_id, callid) DO UPDATE SET turns = EXCLUDED.turns, updated_at = now()
WHERE t.turns IS DISTINCT FROM EXCLUDED.turns
RETURNING callid, (xmax = 0) AS inserted
;
INSERT INTO import_reject (org_id, import_id, line, field, value, problem, fix, raw)
           SELECT $1, $2, * FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[],
                                        $7::text[], $8::text[])
;
INSERT INTO import_run (org_id, source, preset) VALUES ($1, $2, $3) RETURNING import_id
;
INSERT INTO login_throttle (subject, failures, last_failure)
           SELECT subject, 0, $2 FROM unnest($1::text[]) AS subject ORDER BY subject
           ON CONFLICT DO NOTHING
;
INSERT INTO organisation (slug, name, timezone, created_at) VALUES ($1, $2, $3, $4)
           ON CONFLICT (slug) DO NOTHING RETURNING org_id
;
INSERT INTO outbox (org_id, projection, topic, key, payload)
SELECT $1, projection, $2, event.key, event.payload
FROM unnest($3::text[], $4::jsonb[]) WITH ORDINALITY AS event(key, payload, position),
     unnest($5::text[]) AS projection
ORDER BY position
;
INSERT INTO period_registry AS r (org_id, period_type, period_key, period_start, period_end,
                                          status)
        SELECT $1, $2, key, first, last, 'computing'
        FROM unnest($3::text[], $4::date[], $5::date[]) AS wanted (key, first, last)
        ON CONFLICT (org_id, period_type, period_key) DO UPDATE SET status = 'computing'
;
INSERT INTO refresh_token
               (org_id, token_hash, family_id, user_id, issued_at, expires_at)
           VALUES ($1, $2, $3, $4, $5, $6)
;
INSERT INTO revocation (org_id, subject, revoked_at, expires_at)
           SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::timestamptz[])
           ON CONFLICT (org_id, subject) DO UPDATE
               SET revoked_at = greatest(revocation.revoked_at + interval '1 microsecond',
                                         EXCLUDED.revoked_at),
                   expires_at = greatest(revocation.expires_at, EXCLUDED.expires_at)
           RETURNING org_id, subject, revoked_at, expires_at
;
INSERT INTO search_document (org_id, collection, id, text, fields, at, terms)
SELECT $1, $2, id, text, fields, at, terms::tsvector
FROM unnest($3::text[], $4::text[], $5::jsonb[], $6::bigint[], $7::text[])
    AS document(id, text, fields, at, terms)
ON CONFLICT (org_id, collection, id) DO UPDATE SET
    text = excluded.text, fields = excluded.fields, at = excluded.at, terms = excluded.terms
;
INSERT INTO signing_key (kid, private_pem, public_jwk, created_at)
           VALUES ($1, $2, $3, $4)
;
INSERT INTO vector_item (org_id, collection, model_version, id, dim, embedding, properties)
SELECT $1, $2, $3, id, dim, embedding::vector, properties
FROM unnest($4::text[], $5::int[], $6::text[], $7::jsonb[]) AS item(id, dim, embedding, properties)
ON CONFLICT (org_id, collection, model_version, id) DO UPDATE SET
    dim = excluded.dim, embedding = excluded.embedding, properties = excluded.properties
;
SELECT ($2::timestamptz AT TIME ZONE timezone)::date FROM organisation WHERE org_id = $1
;
SELECT (SELECT count(*) FROM period_registry
                   WHERE org_id = $1 AND status = 'completed') AS periods,
                  (SELECT count(*) FROM user_portrait_snapshot WHERE org_id = $1) AS portraits
;
SELECT * FROM app_user
            WHERE org_id = $1 AND (created_at, user_id) > ($2, $3)
            ORDER BY created_at, user_id LIMIT $4
;
SELECT * FROM app_user WHERE email = $1
;
SELECT * FROM app_user WHERE org_id = $1 AND idempotency_key = $2
;
SELECT * FROM app_user WHERE org_id = $1 AND user_id = $2
;
SELECT * FROM app_user WHERE org_id = $1 AND user_id = $2
            FOR NO KEY UPDATE
;
SELECT 1
;
SELECT 1 FROM organisation WHERE org_id = $1 FOR NO KEY UPDATE
;
SELECT EXISTS (SELECT FROM app_user WHERE org_id = $1 AND user_id <> $2
                              AND role = 'admin' AND NOT disabled)
;
SELECT EXISTS (SELECT FROM import_run
           WHERE org_id = $1 AND source = $2 AND finished_at IS NOT NULL)
;
SELECT EXISTS (SELECT FROM import_run WHERE org_id = $1 AND import_id = $2)
;
SELECT EXISTS (SELECT FROM organisation)
;
SELECT EXISTS (SELECT FROM period_registry
                           WHERE org_id = $1 AND period_type = $2 AND period_key = $3)
;
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')
;
SELECT EXISTS (SELECT FROM revocation WHERE org_id = $1 AND subject = $2)
;
SELECT api_key.*, (
    SELECT app_user.role FROM app_user WHERE app_user.org_id = api_key.org_id
       AND app_user.user_id = api_key.owner_id AND NOT app_user.disabled) AS owner_role FROM api_key
           WHERE org_id = $1 AND (created_at, key_id) > ($2, $3)
           ORDER BY created_at, key_id LIMIT $4
;
SELECT api_key.*, (
    SELECT app_user.role FROM app_user WHERE app_user.org_id = api_key.org_id
       AND app_user.user_id = api_key.owner_id AND NOT app_user.disabled) AS owner_role FROM api_key
           WHERE org_id = $1 AND key_id = $2 FOR NO KEY UPDATE OF api_key
;
SELECT api_key.*, (
    SELECT app_user.role FROM app_user WHERE app_user.org_id = api_key.org_id
       AND app_user.user_id = api_key.owner_id AND NOT app_user.disabled) AS owner_role FROM api_key
           WHERE org_id = $1 AND owner_id = $2 AND revoked_at IS NULL
           ORDER BY created_at, key_id
;
SELECT api_key.*, (
    SELECT app_user.role FROM app_user WHERE app_user.org_id = api_key.org_id
       AND app_user.user_id = api_key.owner_id AND NOT app_user.disabled) AS owner_role FROM api_key WHERE secret_hash = $1
;
SELECT at, id FROM search_document
WHERE org_id = $1 AND collection = $2 AND (terms @@ $3::text::tsquery) IS TRUE AND fields @> $4
  AND at BETWEEN $5 AND $6 AND (at < $6 OR id > $7)
ORDER BY at DESC, id LIMIT $8
;
SELECT at, id FROM search_document
WHERE terms @@ $3::text::tsquery AND terms @@ $4::text::tsquery AND fields @> $5
  AND org_id IS NOT DISTINCT FROM $1 AND collection IS NOT DISTINCT FROM $2
LIMIT $6
;
SELECT c.callid
FROM unnest($2::text[]) AS wanted (callid), LATERAL (
    SELECT callid, llm_analyzed_at FROM call_record_enriched
    WHERE org_id = (SELECT $1::uuid) AND callid = wanted.callid FOR NO KEY UPDATE) c
WHERE c.llm_analyzed_at IS NULL
;
SELECT c.callid, c.user_id, c.customer_id, c.started_at, t.turns
           FROM unnest($2::text[]) AS wanted (callid), LATERAL (
               SELECT callid, user_id, customer_id, started_at FROM call_record_enriched
               WHERE org_id = (SELECT $1::uuid) AND callid = wanted.callid OFFSET 0) c, LATERAL (
               SELECT turns FROM call_transcript
               WHERE org_id = (SELECT $1::uuid) AND callid = wanted.callid OFFSET 0) t
;
SELECT c.callid, t.turns, t.version
FROM call_record_enriched c, LATERAL (
    SELECT turns, xmin AS version FROM call_transcript
    WHERE org_id = (SELECT $1::uuid) AND callid = c.callid OFFSET 0) t
WHERE c.org_id = (SELECT $1::uuid) AND c.has_transcript AND c.llm_analyzed_at IS NULL
  AND c.callid NOT IN (SELECT unnest(callids) FROM analysis_claim WHERE org_id = $1)
ORDER BY c.callid LIMIT $2
;
SELECT callid FROM call_record_enriched
           WHERE org_id = (SELECT $1::uuid) AND callid > $2 ORDER BY callid LIMIT $3
;
SELECT callid, task_id, user_id, customer_id, started_at, duration_ms, bill_ms, rounds,
    level_name, hangup_by, call_status, phone_masked, has_transcript, sentiment, sentiment_score,
    complaint_risk, churn_risk, reason, analyzer, llm_analyzed_at FROM call_record_enriched
    WHERE org_id = (SELECT $1::uuid) AND callid = $2
;
SELECT callid, task_id, user_id, customer_id, started_at, duration_ms, bill_ms, rounds,
    level_name, hangup_by, call_status, phone_masked, has_transcript, sentiment, sentiment_score,
    complaint_risk, churn_risk, reason, analyzer, llm_analyzed_at FROM call_record_enriched
    WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[])
;
SELECT callid, task_id, user_id, customer_id, started_at, duration_ms, bill_ms, rounds,
    level_name, hangup_by, call_status, phone_masked, has_transcript, sentiment, sentiment_score,
    complaint_risk, churn_risk, reason, analyzer, llm_analyzed_at FROM call_record_enriched
    WHERE org_id = (SELECT $1::uuid) AND user_id = $2 AND started_at >= $3 AND started_at < $4
      AND (started_at, callid) < ($5, $6)
    ORDER BY started_at DESC, callid DESC LIMIT $7
;
SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8
           FROM call_record_enriched WHERE has_transcript AND llm_analyzed_at IS NULL
;
SELECT count(*) = $4 FROM (
    SELECT FROM vector_item WHERE org_id = $1 AND collection = $2 AND model_version = $3 LIMIT $4
) AS counted
;
SELECT count(*) AS calls,
                  count(*) FILTER (WHERE has_transcript) AS transcripts,
                  count(*) FILTER (WHERE has_transcript AND llm_analyzed_at IS NOT NULL)
                      AS analysed,
                  count(DISTINCT user_id) AS users,
                  min(call_date)::text AS first, max(call_date)::text AS last
           FROM call_record_enriched WHERE org_id = $1
;
SELECT count(*) AS documents, min(at) AS oldest, max(at) AS newest FROM (
    SELECT at FROM search_document WHERE org_id = $1 AND collection = $2 AND at <= $3
    ORDER BY at DESC, id LIMIT $4) AS near
;
SELECT count(*) FROM api_key WHERE revoked_at IS NULL
              AND expires_at > $1 AND expires_at <= $2 AND expires_at - created_at > $3
;
SELECT count(*) FROM call_record_enriched
           WHERE org_id = $1 AND has_transcript AND llm_analyzed_at IS NULL
;
SELECT count(*) FROM call_record_enriched WHERE org_id = $1
;
SELECT count(*) FROM search_document WHERE org_id = $1 AND collection = $2
;
SELECT count(*) FROM vector_item WHERE org_id = $1 AND collection = $2 AND model_version = $3
;
SELECT created_at FROM signing_key WHERE retired_at IS NULL
;
SELECT email FROM app_user WHERE org_id = $1 AND role = 'admin' AND NOT disabled
           ORDER BY created_at LIMIT 1
;
SELECT id FROM unnest($2::text[]) AS id WHERE NOT EXISTS (
               SELECT FROM call_record_enriched
               WHERE org_id = $1 AND user_id = id AND customer_id IS NOT NULL)
;
SELECT id FROM unnest($2::text[]) AS id WHERE NOT EXISTS (
               SELECT FROM call_record_enriched WHERE org_id = $1 AND customer_id = id)
;
SELECT id, embedding::real[] AS vector, properties FROM vector_item
WHERE org_id = $1 AND collection = $2 AND model_version = $3 AND id = ANY($4)
;
SELECT id, org_id, projection, topic, key, payload, attempts, error, created_at, died_at
FROM outbox_dead_letter
WHERE ($1::text IS NULL OR projection = $1) AND id > $2
ORDER BY id LIMIT $3
;
SELECT id, org_id, topic, key, payload, attempts, created_at, lane FROM outbox
WHERE lane = ANY($3) AND id > $4
  AND projection IS NOT DISTINCT FROM $1 AND org_id IS NOT DISTINCT FROM $2
ORDER BY id LIMIT $5
;
SELECT id, org_id, topic, key, payload, attempts, created_at, lane FROM outbox o
WHERE projection = $1 AND org_id = $2 AND not_before <= now()
  AND NOT EXISTS (SELECT FROM outbox earlier WHERE earlier.lane = o.lane AND earlier.id < o.id)
ORDER BY id LIMIT $3
FOR UPDATE OF o SKIP LOCKED
;
SELECT id, text, fields FROM search_document
WHERE org_id = $1 AND collection = $2 AND id = ANY($3::text[])
;
SELECT import_id, source, preset, started_at, finished_at, inserted, updated, unchanged,
                  duplicates, rejected
           FROM import_run
           WHERE org_id = $1
             AND ($3::timestamptz IS NULL OR (started_at, import_id) < ($3, $4::uuid))
           ORDER BY started_at DESC, import_id DESC LIMIT $2
;
SELECT kid, private_pem, public_jwk FROM signing_key
           WHERE retired_at IS NULL
;
SELECT line, field, value, problem, fix, raw FROM import_reject
           WHERE org_id = $1 AND import_id = $2 AND line > $3 ORDER BY line LIMIT $4
;
SELECT max(computed_at) FROM period_registry WHERE org_id = $1
;
SELECT max(period_key) FROM user_portrait_snapshot
        WHERE org_id = $1 AND user_id = $2 AND period_type = $3
;
SELECT max(updated_at) FROM call_record_enriched WHERE org_id = $1
;
SELECT min(first) AS first, max(last) AS last FROM (
            SELECT min(call_date) AS first, max(call_date) AS last
            FROM call_record_enriched WHERE org_id = $1
            UNION ALL
            SELECT min(period_start), max(period_end)
            FROM period_registry WHERE org_id = $1 AND period_type = $2
        ) AS extents
;
SELECT min(period_key) AS oldest, max(period_key) AS newest FROM period_summary
        WHERE org_id = $1 AND period_type = $2
;
SELECT o.org_id FROM organisation o WHERE EXISTS (
               SELECT FROM call_record_enriched c
               WHERE c.org_id = o.org_id AND c.has_transcript AND c.llm_analyzed_at IS NULL)
;
SELECT org_id FROM organisation WHERE slug = $1
;
SELECT org_id, slug FROM organisation ORDER BY created_at, org_id LIMIT $1
;
SELECT org_id, slug, name, timezone FROM organisation ORDER BY slug
;
SELECT org_id, slug, name, timezone FROM organisation WHERE org_id = $1
;
SELECT org_id, subject, revoked_at, expires_at FROM revocation
           WHERE expires_at > $1 AND (revoked_at, subject) > ($2, $3)
           ORDER BY revoked_at, subject LIMIT $4
;
SELECT org_id, sum(users)::bigint AS portraits FROM period_summary
           GROUP BY org_id ORDER BY portraits DESC, org_id
;
SELECT org_id, user_id, family_id, expires_at, used_at, revoked_at
           FROM refresh_token WHERE token_hash = $1
;
SELECT period_key FROM period_registry
        WHERE org_id = $1 AND period_type = $2 AND status = 'computing' ORDER BY period_key
;
SELECT period_key, status FROM period_registry
        WHERE org_id = $1 AND period_type = $2 ORDER BY period_key DESC LIMIT $3
;
SELECT period_key, total_calls, connected_calls, total_duration, total_rounds, level_a_count, level_b_count, level_c_count, level_d_count, level_e_count, level_f_count, robot_hangup_count, user_hangup_count, positive_count, neutral_count, negative_count, scored_calls, sentiment_score_sum, high_complaint_risk, medium_complaint_risk, low_complaint_risk, high_churn_risk, medium_churn_risk, low_churn_risk, fail_reason_dist FROM user_portrait_snapshot
        WHERE org_id = $1 AND user_id = $2 AND period_type = $3 AND period_key BETWEEN $4 AND $5
;
SELECT period_key, users FROM period_summary
        WHERE org_id = $1 AND period_type = $2 ORDER BY period_key
;
SELECT period_key, users, total_calls, connected_calls, total_duration, total_rounds, level_a_count, level_b_count, level_c_count, level_d_count, level_e_count, level_f_count, robot_hangup_count, user_hangup_count, positive_count, neutral_count, negative_count, scored_calls, sentiment_score_sum, high_complaint_risk, medium_complaint_risk, low_complaint_risk, high_churn_risk, medium_churn_risk, low_churn_risk, fail_reason_dist FROM period_summary
        WHERE org_id = $1 AND period_type = $2 AND period_key BETWEEN $3 AND $4
;
SELECT pg_advisory_xact_lock(hashtextextended($1, 0))
;
SELECT pg_advisory_xact_lock(hashtextextended('analysis/' || $1::uuid::text, 0))
;
SELECT pg_advisory_xact_lock(hashtextextended('looma-first-start', 0))
;
SELECT pg_advisory_xact_lock(hashtextextended('looma-signing-key', 0))
;
SELECT pg_advisory_xact_lock(hashtextextended('outbox/' || $1::text || '/' || $2::uuid::text, 0))
;
SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))
;
SELECT pg_try_advisory_xact_lock_shared(hashtextextended('outbox/' || $1::text || '/' || $2::uuid::text, 0))
;
SELECT projection, count(*) AS waiting,
       greatest(0, extract(epoch FROM now() - min(created_at)))::float8 AS lag_seconds, 0 AS dead
FROM outbox GROUP BY projection
UNION ALL
SELECT projection, 0, 0, count(*) FROM outbox_dead_letter GROUP BY projection
;
SELECT public_jwk FROM signing_key
           WHERE retired_at IS NULL OR retired_at > $1 ORDER BY created_at DESC, kid
;
SELECT seq, at, actor, action, target, details FROM audit_log
            WHERE org_id = $1 AND seq < $2
            ORDER BY seq DESC LIMIT $3
;
SELECT seq, at, actor, action, target, details, prev_hash, hash FROM audit_log
            WHERE org_id = $1 AND seq > $2 ORDER BY seq LIMIT $3
;
SELECT seq, hash FROM audit_head WHERE org_id = $1
;
SELECT set_config('work_mem', '128MB', true), set_config('enable_nestloop', 'off', true),
       set_config('jit', 'off', true)
;
SELECT subject, failures, last_failure, blocked_until FROM login_throttle
           WHERE subject = ANY($1::text[]) ORDER BY subject FOR UPDATE
;
SELECT t.callid, t.version
FROM unnest($2::text[]) AS wanted (callid), LATERAL (
    SELECT callid, xmin AS version FROM call_transcript
    WHERE org_id = (SELECT $1::uuid) AND callid = wanted.callid OFFSET 0) t
;
SELECT timezone FROM organisation WHERE org_id = $1
;
SELECT turns FROM call_transcript WHERE org_id = $1 AND callid = $2
;
SELECT user_id FROM user_portrait_snapshot
        WHERE org_id = $1 AND period_type = $2 AND period_key = $3 AND user_id = ANY($4::text[])
;
SELECT user_id FROM user_portrait_snapshot WHERE org_id = $1 AND period_type = 'quarter'
           ORDER BY period_key DESC, total_calls DESC, user_id LIMIT 1
;
SELECT user_id, customer_id, count(*) AS calls,
                  count(*) FILTER (WHERE call_status = 'connected') AS connected,
                  max(started_at) AS last_at
           FROM call_record_enriched
           WHERE org_id = $1 AND customer_id IS NOT NULL AND (user_id, customer_id) > ($2, $3)
           GROUP BY user_id, customer_id ORDER BY user_id, customer_id LIMIT $4
;
SELECT user_id, total_calls, connected_calls, total_duration, total_rounds, level_a_count, level_b_count, level_c_count, level_d_count, level_e_count, level_f_count, robot_hangup_count, user_hangup_count, positive_count, neutral_count, negative_count, scored_calls, sentiment_score_sum, high_complaint_risk, medium_complaint_risk, low_complaint_risk, high_churn_risk, medium_churn_risk, low_churn_risk, fail_reason_dist FROM user_portrait_snapshot
        WHERE org_id = $1 AND period_type = $2 AND period_key = $3 AND user_id > $4
        ORDER BY user_id LIMIT $5
;
UPDATE analysis_claim SET lease_until = clock_timestamp() + make_interval(secs => $3)
           WHERE org_id = $1 AND claim = $2
;
UPDATE api_key SET owner_id = NULL, role = $3 WHERE org_id = $1 AND key_id = $2
;
UPDATE api_key SET revoked_at = $3 WHERE org_id = $1 AND key_id = ANY($2::uuid[])
;
UPDATE app_user SET name = $3, role = $4, disabled = $5, updated_at = $6
            WHERE org_id = $1 AND user_id = $2 RETURNING *
;
UPDATE app_user SET password_hash = $3, updated_at = $4
           WHERE org_id = $1 AND user_id = $2
;
UPDATE call_record_enriched
SET sentiment = $3, sentiment_score = $4, complaint_risk = $5, churn_risk = $6, reason = $7,
    analyzer = $8, llm_analyzed_at = now(), updated_at = now()
WHERE org_id = (SELECT $1::uuid) AND callid = $2
;
UPDATE call_record_enriched
SET sentiment = NULL, sentiment_score = NULL, complaint_risk = NULL, churn_risk = NULL,
    reason = NULL, analyzer = NULL, llm_analyzed_at = NULL, updated_at = now()
WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[]) AND llm_analyzed_at IS NOT NULL
;
UPDATE import_run SET finished_at = now() WHERE org_id = $1 AND import_id = $2
;
UPDATE import_run SET inserted = inserted + $3, updated = updated + $4,
               unchanged = unchanged + $5, duplicates = duplicates + $6, rejected = rejected + $7
           WHERE org_id = $1 AND import_id = $2
;
UPDATE login_throttle
           SET failures = greatest(failures - 1, 0), blocked_until = NULL
           WHERE subject = $1
;
UPDATE login_throttle SET failures = $2, last_failure = $3, blocked_until = $4
           WHERE subject = $1
;
UPDATE outbox SET attempts = attempts + 1, not_before = clock_timestamp() + make_interval(secs => $2) WHERE id = $1
;
UPDATE period_registry
        SET computed_at = $5,
            status = CASE WHEN period_end < $4 THEN 'completed' ELSE 'pending' END
        WHERE org_id = $1 AND period_type = $2 AND period_key = ANY($3::text[])
;
UPDATE refresh_token SET revoked_at = $3
           WHERE org_id = $1 AND family_id = $2 AND revoked_at IS NULL
;
UPDATE refresh_token SET used_at = $2 WHERE token_hash = $1
;
UPDATE signing_key SET retired_at = $1, private_pem = '' WHERE retired_at IS NULL
;
WITH RECURSIVE made AS (
               SELECT key_id FROM api_key WHERE org_id = $1 AND made_by_key = $2
               UNION
               SELECT k.key_id FROM api_key k JOIN made ON k.made_by_key = made.key_id
                WHERE k.org_id = $1)
           SELECT api_key.*, (
    SELECT app_user.role FROM app_user WHERE app_user.org_id = api_key.org_id
       AND app_user.user_id = api_key.owner_id AND NOT app_user.disabled) AS owner_role FROM api_key
            WHERE org_id = $1 AND key_id IN (SELECT key_id FROM made) AND revoked_at IS NULL
            ORDER BY created_at, key_id
;
WITH RECURSIVE pending AS (
    (SELECT org_id FROM outbox WHERE projection = $1 ORDER BY org_id LIMIT 1)
    UNION ALL
    SELECT (SELECT o.org_id FROM outbox o WHERE o.projection = $1 AND o.org_id > pending.org_id
            ORDER BY o.org_id LIMIT 1)
    FROM pending WHERE pending.org_id IS NOT NULL
)
SELECT org_id FROM pending WHERE org_id IS NOT NULL
;
WITH api_key AS (
               INSERT INTO api_key (org_id, name, role, secret_hash, prefix, created_by, created_at,
                                    expires_at, idempotency_key, owner_id, made_by_key)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
               ON CONFLICT (org_id, idempotency_key) DO NOTHING RETURNING *)
           SELECT api_key.*, (
    SELECT app_user.role FROM app_user WHERE app_user.org_id = api_key.org_id
       AND app_user.user_id = api_key.owner_id AND NOT app_user.disabled) AS owner_role FROM api_key
;
WITH dead AS (DELETE FROM outbox WHERE id = $1 RETURNING *)
INSERT INTO outbox_dead_letter
    (id, org_id, projection, topic, key, payload, attempts, error, created_at)
SELECT id, org_id, projection, topic, key, payload, attempts + 1, $2, created_at FROM dead
;
WITH ended AS (
               UPDATE refresh_token SET revoked_at = $3
               WHERE org_id = $1 AND user_id = $2 AND revoked_at IS NULL
                 AND family_id <> ALL($4::uuid[])
               RETURNING family_id, used_at, expires_at)
           SELECT DISTINCT family_id FROM ended WHERE used_at IS NULL AND expires_at > $3
;
WITH merged AS (
    INSERT INTO call_record_enriched AS c (
        org_id, callid, task_id, user_id, customer_id, call_date, started_at, duration_ms, bill_ms,
        rounds, level_name, hangup_by, call_status, phone_cipher, phone_masked, has_transcript)
    SELECT $1, callid, task_id, user_id, customer_id, (started_at AT TIME ZONE $2)::date,
           started_at, duration_ms, bill_ms, rounds, level_name, hangup_by, call_status,
           phone_cipher, phone_masked, turns IS NOT NULL
    FROM call_staging ORDER BY callid
    ON CONFLICT (org_id, callid) DO UPDATE SET
        task_id = EXCLUDED.task_id, user_id = EXCLUDED.user_id, customer_id = EXCLUDED.customer_id,
        call_date = EXCLUDED.call_date, started_at = EXCLUDED.started_at,
        duration_ms = EXCLUDED.duration_ms, bill_ms = EXCLUDED.bill_ms, rounds = EXCLUDED.rounds,
        level_name = EXCLUDED.level_name, hangup_by = EXCLUDED.hangup_by,
        call_status = EXCLUDED.call_status, phone_cipher = EXCLUDED.phone_cipher,
        phone_masked = EXCLUDED.phone_masked,
        has_transcript = c.has_transcript OR EXCLUDED.has_transcript, updated_at = now(),
        moved_from = CASE WHEN (c.user_id, c.customer_id, c.call_date)
                               IS DISTINCT FROM
                               (EXCLUDED.user_id, EXCLUDED.customer_id, EXCLUDED.call_date)
                          THEN ARRAY[c.user_id, c.customer_id, to_char(c.call_date, 'YYYY-MM-DD')]
                     END
    WHERE (c.task_id, c.user_id, c.customer_id, c.call_date, c.started_at, c.duration_ms,
           c.bill_ms, c.rounds, c.level_name, c.hangup_by, c.call_status, c.phone_cipher,
           c.has_transcript)
        IS DISTINCT FROM
          (EXCLUDED.task_id, EXCLUDED.user_id, EXCLUDED.customer_id, EXCLUDED.call_date,
           EXCLUDED.started_at, EXCLUDED.duration_ms, EXCLUDED.bill_ms, EXCLUDED.rounds,
           EXCLUDED.level_name, EXCLUDED.hangup_by, EXCLUDED.call_status, EXCLUDED.phone_cipher,
           c.has_transcript OR EXCLUDED.has_transcript)
    RETURNING callid, (xmax = 0) AS inserted, moved_from,
        moved_from IS NOT NULL
            AND (moved_from[1], moved_from[2]) IS DISTINCT FROM (user_id, customer_id) AS left_pair,
        moved_from IS NOT NULL
            AND (moved_from[1], moved_from[3]::date) IS DISTINCT FROM (user_id, call_date)
            AS left_day
)
SELECT callid, inserted, moved_from, left_pair, left_day FROM merged
;
WITH pairs AS (
               SELECT user_id, customer_id FROM call_record_enriched
               WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[])
                 AND customer_id IS NOT NULL
               UNION
               SELECT * FROM unnest($3::text[], $4::text[]))
           SELECT p.user_id, p.customer_id, count(c.callid) AS calls,
                  count(c.callid) FILTER (WHERE c.call_status = 'connected') AS connected,
                  max(c.started_at) AS last_at
           FROM pairs p LEFT JOIN call_record_enriched c
             ON c.org_id = (SELECT $1::uuid)
             AND c.user_id = p.user_id AND c.customer_id = p.customer_id
           GROUP BY p.user_id, p.customer_id
;
WITH risen AS (DELETE FROM outbox_dead_letter WHERE id = ANY($1) RETURNING *)
INSERT INTO outbox (org_id, projection, topic, key, payload)
SELECT org_id, projection, topic, key, payload FROM risen ORDER BY id
;
