-- Whose an API key is. A user's key never counts for more than that user does at the moment; it
-- ends with them. The organisation's own keys stay when people go, and so administer nothing.
ALTER TABLE api_key ADD COLUMN owner_id uuid;     -- a user; null: the organisation

-- The owner of the tables is bound by row policies as well, and has none that lets rows through.
SET LOCAL ROLE looma_system;
UPDATE api_key SET owner_id = created_by WHERE created_by IS NOT NULL;
-- Keys whose maker is gone or disabled ended with them, had this rule been there.
WITH ended AS (
    UPDATE api_key k SET revoked_at = now()
    WHERE k.revoked_at IS NULL AND k.owner_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM app_user u
                      WHERE u.org_id = k.org_id AND u.user_id = k.owner_id AND NOT u.disabled)
    RETURNING k.org_id, k.key_id),
-- Keys made on the command line, by another key or by somebody of the organisation's own identity
-- provider have no user here: they become the organisation's.
lowered AS (
    UPDATE api_key k SET role = 'analyst' WHERE k.owner_id IS NULL AND k.role = 'admin'
    RETURNING k.org_id, k.key_id)
INSERT INTO revocation (org_id, subject, revoked_at, expires_at)
    SELECT org_id, 'key:' || key_id, now(), now() + interval '1 hour'
    FROM (SELECT * FROM ended UNION ALL SELECT * FROM lowered) AS changed
    ON CONFLICT (org_id, subject) DO NOTHING;
RESET ROLE;

ALTER TABLE api_key ADD CONSTRAINT api_key_of_nobody_administers
    CHECK (owner_id IS NOT NULL OR role <> 'admin');
CREATE INDEX api_key_owner ON api_key (org_id, owner_id) WHERE revoked_at IS NULL;
