-- Whose an API key is. A user's key never counts for more than that user does at the moment; it
-- ends with them. The organisation's own keys stay when people go, and so administer nothing.
ALTER TABLE api_key ADD COLUMN owner_id uuid;     -- a user; null: the organisation
ALTER TABLE api_key ADD COLUMN made_by_key uuid;  -- it ends with that one; null: no key made it

-- The owner of the tables is bound by row policies as well, and has none that lets rows through.
SET LOCAL ROLE looma_system;
-- A maker who is here or was deleted. Whoever else is named was never a user: an operator's token
-- (`looma token`) has nobody behind it, and its keys become the organisation's, as do those made on
-- the command line, by another key or by somebody of the organisation's own identity provider.
UPDATE api_key k SET owner_id = created_by
WHERE EXISTS (SELECT FROM app_user u WHERE u.org_id = k.org_id AND u.user_id = k.created_by)
   OR EXISTS (SELECT FROM audit_log a WHERE a.org_id = k.org_id AND a.action = 'user.deleted'
                                        AND a.target = 'user:' || k.created_by);
UPDATE api_key k SET made_by_key = maker.key_id
FROM audit_log a JOIN api_key maker ON maker.org_id = a.org_id AND a.actor = 'key:' || maker.key_id
WHERE a.org_id = k.org_id AND a.action = 'key.created' AND a.target = 'key:' || k.key_id;
DO $$
DECLARE
    org uuid;
    ended text[];
    given text[];
    lowered text[];
    details text;
    head record;
    entry text;
BEGIN
    FOR org IN SELECT DISTINCT org_id FROM api_key LOOP
        -- Keys whose owner is gone or disabled ended with them, had this rule been there.
        WITH changed AS (
            UPDATE api_key k SET revoked_at = now()
            WHERE k.org_id = org AND k.revoked_at IS NULL AND k.owner_id IS NOT NULL
              AND NOT EXISTS (SELECT FROM app_user u WHERE u.org_id = org
                                 AND u.user_id = k.owner_id AND NOT u.disabled)
            RETURNING 'key:' || key_id AS subject)
        SELECT coalesce(array_agg(subject ORDER BY subject), '{}') INTO ended FROM changed;
        SELECT coalesce(array_agg('key:' || key_id ORDER BY key_id), '{}') INTO given FROM api_key
            WHERE org_id = org AND created_by IS NOT NULL AND owner_id IS NULL
              AND revoked_at IS NULL;
        WITH changed AS (
            UPDATE api_key SET role = 'analyst'
            WHERE org_id = org AND owner_id IS NULL AND role = 'admin'
            RETURNING 'key:' || key_id AS subject)
        SELECT coalesce(array_agg(subject ORDER BY subject), '{}') INTO lowered FROM changed;
        CONTINUE WHEN ended || given || lowered = '{}';

        INSERT INTO revocation (org_id, subject, revoked_at, expires_at)
            SELECT org, subject, now(), now() + interval '1 hour'
            FROM unnest(ended || lowered) AS subject
            ON CONFLICT (org_id, subject) DO NOTHING;

        -- What became of them stands in the audit log, in the canonical form of its chain: sorted
        -- keys and no blanks. All of it is ASCII.
        PERFORM pg_advisory_xact_lock(hashtextextended('looma-audit:' || org, 0));
        SELECT coalesce(max(h.seq), 0) AS seq,
               coalesce((array_agg(h.hash))[1], decode(repeat('00', 32), 'hex')) AS hash
            INTO head FROM audit_head h WHERE h.org_id = org;
        details := format('{"keys_ended":%s,"keys_given_to_organisation":%s,"keys_lowered":%s}',
                          array_to_json(ended), array_to_json(given), array_to_json(lowered));
        entry := format(
            '{"action":"keys.owners_set","actor":"migration:0008","at":"%s+00:00","details":%s,'
            '"org_id":"%s","seq":%s,"target":""}',
            to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), details, org,
            head.seq + 1);
        INSERT INTO audit_log (org_id, seq, at, actor, action, details, prev_hash, hash)
            VALUES (org, head.seq + 1, now(), 'migration:0008', 'keys.owners_set', details::jsonb,
                    head.hash, sha256(head.hash || convert_to(entry, 'UTF8')));
    END LOOP;
END $$;
RESET ROLE;

ALTER TABLE api_key ADD CONSTRAINT api_key_of_nobody_administers
    CHECK (owner_id IS NOT NULL OR role <> 'admin');
ALTER TABLE api_key ADD FOREIGN KEY (org_id, made_by_key) REFERENCES api_key;
CREATE INDEX api_key_maker ON api_key (org_id, made_by_key) WHERE made_by_key IS NOT NULL;
CREATE INDEX api_key_owner ON api_key (org_id, owner_id) WHERE revoked_at IS NULL;
