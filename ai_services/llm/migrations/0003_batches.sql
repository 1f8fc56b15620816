-- Batches of requests that a provider answers within a day, and the files that they come and go in.
--
-- Contents hold prompts and answers, and are encrypted by the service. The lines of a batch are
-- attempts of the ledger, reserved in the transaction that writes the batch down, so that there is
-- neither without the other.
CREATE TABLE llm_file (
    org_id      uuid NOT NULL,
    file_id     uuid NOT NULL,
    purpose     text NOT NULL CHECK (purpose IN ('batch', 'batch_output')),
    filename    text NOT NULL,
    bytes       integer NOT NULL,
    sealed      bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, file_id)
);
CREATE INDEX llm_file_by_age ON llm_file (created_at);
CALL protect_tenant_table('llm_file');

CREATE TABLE llm_batch (
    org_id           uuid NOT NULL,
    batch_id         uuid NOT NULL,
    input_file_id    uuid NOT NULL,
    endpoint         text NOT NULL,
    metadata         jsonb,
    model            text NOT NULL,          -- as clients call it
    provider         text NOT NULL,
    upstream_model   text NOT NULL,          -- as the provider calls it
    price_version    text NOT NULL,
    price_input      numeric NOT NULL,       -- per million tokens, less the discount
    price_output     numeric NOT NULL,
    price_cached     numeric NOT NULL,
    status           text NOT NULL,
    errors           jsonb,                  -- why the whole of it failed
    total            integer NOT NULL,
    completed        integer NOT NULL DEFAULT 0,
    failed           integer NOT NULL DEFAULT 0,
    output_file_id   uuid,
    error_file_id    uuid,
    -- What goes to the provider, until it is there, and what its placeholders stand for.
    outgoing         bytea,
    placeholders     bytea,
    upstream_id      text,                   -- the provider's names of it and of its file
    upstream_file    text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz NOT NULL,
    sending_at       timestamptz,            -- from then on the provider may know of it
    in_progress_at   timestamptz,
    finalizing_at    timestamptz,
    cancelling_at    timestamptz,            -- its client wants it to end
    ended_at         timestamptz,
    looks            integer NOT NULL DEFAULT 0,
    next_look_at     timestamptz NOT NULL DEFAULT now(),
    held_until       timestamptz NOT NULL DEFAULT now(),  -- by who looks after it
    PRIMARY KEY (org_id, batch_id)
);
CREATE INDEX llm_batch_due ON llm_batch (next_look_at) WHERE ended_at IS NULL;
CREATE INDEX llm_batch_by_age ON llm_batch (ended_at);
CALL protect_tenant_table('llm_batch');

-- The lines of batches that have not ended.
CREATE TABLE llm_batch_line (
    org_id          uuid NOT NULL,
    batch_id        uuid NOT NULL,
    attempt_id      uuid NOT NULL,
    custom_id       text NOT NULL,
    worst_input     bigint NOT NULL,         -- tokens, as they were reserved
    worst_output    bigint NOT NULL,
    input_estimate  bigint NOT NULL,
    PRIMARY KEY (org_id, batch_id, attempt_id),
    FOREIGN KEY (org_id, batch_id) REFERENCES llm_batch ON DELETE CASCADE
);
CALL protect_tenant_table('llm_batch_line');
