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
    PRIMARY KEY (org_id, user_id)
);
-- Sign-in names an e-mail address only, so it is unique over all organisations.
CREATE UNIQUE INDEX app_user_email ON app_user (lower(email));
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
    PRIMARY KEY (org_id, key_id)
);
CREATE UNIQUE INDEX api_key_secret ON api_key (secret_hash);
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
CREATE INDEX refresh_token_family ON refresh_token (family_id);
CREATE INDEX refresh_token_user ON refresh_token (org_id, user_id);
CALL protect_tenant_table('refresh_token');

-- Sign-ins and keys that ended before their tokens expire; the gateway reads it.
CREATE TABLE revocation (
    org_id      uuid NOT NULL,
    subject     text NOT NULL,                -- 'session:<family_id>', 'user:<user_id>' or 'key:<key_id>'
    revoked_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,         -- after which no token of it can be alive
    PRIMARY KEY (org_id, subject)
);
CREATE INDEX revocation_expires ON revocation (expires_at);
CALL protect_tenant_table('revocation');

CREATE TABLE signing_key (
    kid          text PRIMARY KEY,
    private_pem  bytea NOT NULL,              -- encrypted with DATA_KEY
    public_jwk   jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    retired_at   timestamptz                  -- verifies until retired_at + token lifetime, signs no more
);
GRANT SELECT, INSERT, UPDATE, DELETE ON signing_key TO looma_system;

CREATE TABLE login_throttle (
    subject       text PRIMARY KEY,           -- 'account:<hash>' or 'address:<hash>'
    failures      integer NOT NULL,
    window_start  timestamptz NOT NULL,
    blocked_until timestamptz
);
GRANT SELECT, INSERT, UPDATE, DELETE ON login_throttle TO looma_system;

-- Append-only: neither role may change or remove a row, and each row's hash covers the one before.
CREATE TABLE audit_log (
    org_id     uuid NOT NULL REFERENCES organisation,
    seq        bigint NOT NULL,
    at         timestamptz NOT NULL,
    actor      text NOT NULL,
    action     text NOT NULL,
    target     text NOT NULL DEFAULT '',
    details    jsonb NOT NULL DEFAULT '{}',
    prev_hash  bytea NOT NULL,
    hash       bytea NOT NULL,
    PRIMARY KEY (org_id, seq)
);
CALL protect_tenant_table('audit_log', 'SELECT, INSERT');
