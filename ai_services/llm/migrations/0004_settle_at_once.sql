-- Settling costs less: all rows of a batch are looked up and locked by one query, and what is crossed
-- is told in the same statement.

-- As before. Rows are locked in the order of their keys, each by a look-up of its own (see 0001).
CREATE OR REPLACE FUNCTION llm_settle(
    organisation uuid, attempt_ids uuid[], inputs bigint[], outputs bigint[], cached bigint[],
    reasoning bigint[], costs numeric[], latencies integer[], first_tokens integer[],
    outcomes text[], sources text[])
    RETURNS TABLE (absent uuid, crossing jsonb)
    LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    one record;
    settled integer := 0;
    kinds text[] := '{}';        -- of the attempts that are settled, as the ledger has them
    subjects text[] := '{}';
    purposes text[] := '{}';
    days date[] := '{}';
    released numeric[] := '{}';
    charged numeric[] := '{}';
    touched record;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(llm_ledger_key(organisation));
    FOR one IN
        SELECT s.*, l.subject_kind, l.subject, l.purpose, l.day, l.reserved, l.cost AS cost_before,
               l.settled_at, l.outcome AS outcome_before, l.day IS NOT NULL AS found
        FROM (SELECT DISTINCT ON (s.attempt_id) s.*
              FROM unnest(attempt_ids, inputs, outputs, cached, reasoning, costs, latencies,
                          first_tokens, outcomes, sources) WITH ORDINALITY
                   AS s (attempt_id, input, output, cached, reasoning, cost, latency, first_token,
                         outcome, source, place)
              ORDER BY s.attempt_id, s.place) AS s
        LEFT JOIN LATERAL (
            SELECT l.subject_kind, l.subject, l.purpose, l.day, l.reserved, l.cost, l.settled_at,
                   l.outcome
            FROM cost_ledgers l
            WHERE l.org_id = organisation AND l.attempt_id = s.attempt_id
            OFFSET 0 FOR UPDATE) AS l ON true
    LOOP
        IF NOT one.found THEN
            absent := one.attempt_id;
            RETURN NEXT;
        END IF;
        CONTINUE WHEN NOT one.found
                   OR one.settled_at IS NOT NULL AND one.outcome_before <> 'unknown';
        UPDATE cost_ledgers l
        SET input_tokens = one.input, output_tokens = one.output, cached_tokens = one.cached,
            reasoning_tokens = one.reasoning, cost = one.cost, latency_ms = one.latency,
            first_token_ms = one.first_token, outcome = one.outcome, source = one.source,
            settled_at = clock_timestamp()
        WHERE l.org_id = organisation AND l.attempt_id = one.attempt_id;
        settled := settled + 1;
        kinds[settled] := one.subject_kind;
        subjects[settled] := one.subject;
        purposes[settled] := one.purpose;
        days[settled] := one.day;
        released[settled] := CASE WHEN one.settled_at IS NULL THEN one.reserved ELSE 0 END;
        charged[settled] := one.cost - coalesce(one.cost_before, 0);
    END LOOP;

    FOR touched IN
        SELECT w.budget_id, w.first_day, change.released, change.charged
        FROM (SELECT b.budget_id, llm_window_start(b.period, s.day) AS first_day,
                     sum(s.released) AS released, sum(s.charged) AS charged
              FROM (SELECT kind, subject, purpose, day, sum(s.released) AS released,
                           sum(s.charged) AS charged
                    FROM unnest(kinds, subjects, purposes, days, released, charged)
                         AS s (kind, subject, purpose, day, released, charged)
                    GROUP BY kind, subject, purpose, day) AS s
              CROSS JOIN LATERAL (VALUES (s.kind, s.subject), ('purpose', s.purpose),
                                         ('organisation', '')) AS asked (kind, subject)
              CROSS JOIN LATERAL (
                  SELECT b.budget_id, b.period FROM llm_budget b
                  WHERE b.org_id = organisation AND b.subject_kind = asked.kind
                    AND b.subject = asked.subject OFFSET 0) AS b
              GROUP BY 1, 2 ORDER BY 1, 2) AS change
        CROSS JOIN LATERAL (
            SELECT w.budget_id, w.first_day FROM llm_budget_window w
            WHERE w.org_id = organisation AND w.budget_id = change.budget_id
              AND w.first_day = change.first_day OFFSET 0 FOR UPDATE) AS w
    LOOP
        UPDATE llm_budget_window w
        SET reserved = w.reserved - touched.released, spent = w.spent + touched.charged
        WHERE w.org_id = organisation AND w.budget_id = touched.budget_id
          AND w.first_day = touched.first_day;
        absent := NULL;
        FOR crossing IN
            SELECT * FROM llm_cross(organisation, touched.budget_id, touched.first_day)
        LOOP
            RETURN NEXT;
        END LOOP;
    END LOOP;
END $$;

-- llm_settle, and what is crossed as events of `topic` for those who listen to it. Returns the ids of
-- attempts that were never reserved.
CREATE FUNCTION llm_settle_and_tell(
    organisation uuid, attempt_ids uuid[], inputs bigint[], outputs bigint[], cached bigint[],
    reasoning bigint[], costs numeric[], latencies integer[], first_tokens integer[],
    outcomes text[], sources text[], topic text, listeners text[])
    RETURNS SETOF uuid
    LANGUAGE plpgsql AS $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT * FROM llm_settle(organisation, attempt_ids, inputs, outputs, cached, reasoning, costs,
                                 latencies, first_tokens, outcomes, sources)
    LOOP
        IF one.crossing IS NULL THEN
            RETURN NEXT one.absent;
        ELSE
            INSERT INTO outbox (org_id, projection, topic, key, payload)
            SELECT organisation, listener, llm_settle_and_tell.topic,
                   one.crossing ->> 'budget_id', one.crossing
            FROM unnest(listeners) AS listener;
        END IF;
    END LOOP;
END $$;
