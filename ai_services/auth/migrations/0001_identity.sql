-- Users, API keys, refresh tokens, signing keys, sign-in throttling, the audit chain.
CREATE TABLE app_user (
    org_id         uuid NOT NULL REFERENCES organisation ON DELETE CASCADE,
    user_id        uuid NOT NULL DEFAULT gen_random_uuid(),
    email          text NOT NULL CHECK (length(email) BETWEEN 3 AND 254),
    name           text NOT NULL DEFAULT '' CHECK (length(name) <= 200),
    role           text NOT NULL CHECK (role IN ('admin', 'analyst', 'agent', 'service')),
    password_hash  text NOT NULL,
    disabled       boolean NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    idempotency_key text,                     -- of the request that made the user, so that a retry finds it
    PRIMARY KEY (org_id, user_id)
);
-- Sign-in names an e-mail address only, so it is unique over all organisations. Addresses are
-- normalised (ASCII, lower case) before they come here.
CREATE UNIQUE INDEX app_user_email ON app_user (email);
CREATE UNIQUE INDEX app_user_request ON app_user (org_id, idempotency_key);
CREATE INDEX app_user_listing ON app_user (org_id, created_at, user_id);
CALL protect_tenant_table('app_user');

CREATE TABLE api_key (
    org_id       uuid NOT NULL REFERENCES organisation ON DELETE CASCADE,
    key_id       uuid NOT NULL DEFAULT gen_random_uuid(),
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    role         text NOT NULL CHECK (role IN ('admin', 'analyst', 'agent', 'service')),
    secret_hash  bytea NOT NULL,              -- SHA-256 of 32 random bytes: no slow hash needed
    prefix       text NOT NULL,               -- first characters, to recognise a key in a list
    created_by   uuid,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    idempotency_key text,                     -- of the request that made the key, so that a retry finds it
    PRIMARY KEY (org_id, key_id)
);
CREATE UNIQUE INDEX api_key_secret ON api_key (secret_hash);
CREATE UNIQUE INDEX api_key_request ON api_key (org_id, idempotency_key);
CREATE INDEX api_key_listing ON api_key (org_id, created_at, key_id);
CALL protect_tenant_table('api_key');

CREATE TABLE refresh_token (
    org_id      uuid NOT NULL,
    token_hash  bytea PRIMARY KEY,            -- SHA-256
    family_id   uuid NOT NULL,                -- all rotations of one sign-in
    user_id     uuid NOT NULL,
    issued_at   timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz,                  -- rotated; presented again = theft
    revoked_at  timestamptz,
    FOREIGN KEY (org_id, user_id) REFERENCES app_user ON DELETE CASCADE
);
CREATE INDEX refresh_token_family ON refresh_token (org_id, family_id);
CREATE INDEX refresh_token_user ON refresh_token (org_id, user_id);
CREATE INDEX refresh_token_expires ON refresh_token (expires_at);
CALL protect_tenant_table('refresh_token');

-- Sign-ins and keys that ended before their tokens expire; the gateway reads it.
CREATE TABLE revocation (
    org_id      uuid NOT NULL,
    subject     text NOT NULL,                -- 'session:<family_id>' or 'key:<key_id>'
    revoked_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,         -- after which no token of it can be alive
    PRIMARY KEY (org_id, subject)
);
CREATE INDEX revocation_expires ON revocation (expires_at);
CREATE INDEX revocation_since ON revocation (revoked_at, subject);
CALL protect_tenant_table('revocation');

CREATE TABLE signing_key (
    kid          text PRIMARY KEY,
    private_pem  bytea NOT NULL,              -- encrypted with DATA_KEY; emptied when the key retires
    public_jwk   jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    retired_at   timestamptz                  -- verifies until retired_at + token lifetime, signs no more
);
-- One key signs at a time, whatever races.
CREATE UNIQUE INDEX signing_key_current ON signing_key ((true)) WHERE retired_at IS NULL;
GRANT SELECT, INSERT, UPDATE, DELETE ON signing_key TO looma_system;

CREATE TABLE login_throttle (
    subject       text PRIMARY KEY,           -- 'account:<hash>' or 'address:<hash>'
    failures      integer NOT NULL,
    last_failure  timestamptz NOT NULL,
    blocked_until timestamptz
);
CREATE INDEX login_throttle_last_failure ON login_throttle (last_failure);
GRANT SELECT, INSERT, UPDATE, DELETE ON login_throttle TO looma_system;

-- Append-only: neither role may change or remove a row, and each row's hash covers the one before.
CREATE TABLE audit_log (
    org_id     uuid NOT NULL REFERENCES organisation,
    seq        bigint NOT NULL,               -- 1, 2, 3 … without gaps
    at         timestamptz NOT NULL,
    actor      text NOT NULL,
    action     text NOT NULL,
    target     text NOT NULL DEFAULT '',
    details    jsonb NOT NULL DEFAULT '{}',
    prev_hash  bytea NOT NULL,                -- of seq - 1; 32 zero bytes at the start
    hash       bytea NOT NULL,                -- SHA-256(prev_hash + canonical JSON of the row)
    PRIMARY KEY (org_id, seq)
);
CALL protect_tenant_table('audit_log', 'SELECT, INSERT');

-- Where each chain ends, so that a tail that was cut off is missed. Only the trigger writes it.
CREATE TABLE audit_head (
    org_id  uuid PRIMARY KEY REFERENCES organisation,
    seq     bigint NOT NULL,
    hash    bytea NOT NULL
);
CALL protect_tenant_table('audit_head', 'SELECT');

-- A new row must continue the chain; runs as the owner, since nobody else may write the head.
CREATE FUNCTION audit_link() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    head audit_head%ROWTYPE;
BEGIN
    SELECT * INTO head FROM audit_head WHERE org_id = NEW.org_id FOR UPDATE;
    IF NEW.seq IS DISTINCT FROM coalesce(head.seq, 0) + 1
       OR NEW.prev_hash IS DISTINCT FROM coalesce(head.hash, decode(repeat('00', 32), 'hex'))
       OR length(NEW.hash) IS DISTINCT FROM 32 THEN
        RAISE EXCEPTION 'audit entry % does not continue the chain', NEW.seq
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO audit_head (org_id, seq, hash) VALUES (NEW.org_id, NEW.seq, NEW.hash)
        ON CONFLICT (org_id) DO UPDATE SET seq = EXCLUDED.seq, hash = EXCLUDED.hash;
    RETURN NEW;
END $$;
CREATE TRIGGER audit_link BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_link();
