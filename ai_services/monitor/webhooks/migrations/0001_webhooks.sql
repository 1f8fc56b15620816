-- Where organisations want to be told of what happens, what was sent there, and which figures matter.
CREATE TABLE webhook (
    org_id            uuid NOT NULL REFERENCES organisation ON DELETE CASCADE,
    webhook_id        uuid NOT NULL DEFAULT gen_random_uuid(),
    url               text NOT NULL,
    event_types       text[] NOT NULL,
    description       text NOT NULL,
    active            boolean NOT NULL,
    disabled_as       text CHECK (disabled_as IN ('gone', 'failing')),  -- by the platform; null: it isn't
    secret            bytea NOT NULL,          -- sealed
    old_secret        bytea,                   -- sealed; signs as well until old_secret_until
    old_secret_until  timestamptz,
    failing_since     timestamptz,             -- the first failure since something was delivered
    idempotency_key   text,                    -- of the request that made it, so that a retry makes no other
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org_id, webhook_id),
    CHECK (disabled_as IS NULL OR NOT active),
    CHECK ((old_secret IS NULL) = (old_secret_until IS NULL))
);
CREATE UNIQUE INDEX webhook_request ON webhook (org_id, idempotency_key);
CALL protect_tenant_table('webhook');

-- One event on its way to one webhook. Each claim has a number of its own: whoever ends a delivery
-- shows that nobody has claimed it since.
CREATE TABLE webhook_delivery (
    org_id        uuid NOT NULL,
    delivery_id   uuid NOT NULL DEFAULT gen_random_uuid(),
    webhook_id    uuid NOT NULL,
    message_id    text COLLATE "C" NOT NULL,   -- the same at every attempt, and at every webhook
    event_type    text NOT NULL,
    body          text NOT NULL,               -- as it is sent, the same at every attempt
    state         text NOT NULL DEFAULT 'waiting'
                      CHECK (state IN ('waiting', 'sending', 'delivered', 'dead')),
    due_at        timestamptz NOT NULL DEFAULT clock_timestamp(),  -- sending: who sends it is lost then
    attempts      integer NOT NULL DEFAULT 0,
    claim         bigint NOT NULL DEFAULT 0,
    last_status   integer,                     -- of the last answer; null: there was none
    last_error    text,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at   timestamptz,
    PRIMARY KEY (org_id, delivery_id),
    UNIQUE (org_id, webhook_id, message_id),
    FOREIGN KEY (org_id, webhook_id) REFERENCES webhook ON DELETE CASCADE,
    CHECK ((state IN ('delivered', 'dead')) = (finished_at IS NOT NULL))
);
CREATE INDEX webhook_delivery_due ON webhook_delivery (org_id, webhook_id, due_at)
    WHERE state IN ('waiting', 'sending');
CREATE INDEX webhook_delivery_sending ON webhook_delivery (org_id, webhook_id) WHERE state = 'sending';
CREATE INDEX webhook_delivery_listing ON webhook_delivery (org_id, webhook_id, created_at, delivery_id);
CREATE INDEX webhook_delivery_finished ON webhook_delivery (finished_at) WHERE finished_at IS NOT NULL;
CALL protect_tenant_table('webhook_delivery');

-- Rules of an organisation over figures of all its users in a period.
CREATE TABLE webhook_threshold (
    org_id        uuid NOT NULL REFERENCES organisation ON DELETE CASCADE,
    threshold_id  uuid NOT NULL DEFAULT gen_random_uuid(),
    name          text NOT NULL,
    metric        text NOT NULL,
    period_type   text NOT NULL CHECK (period_type IN ('week', 'month', 'quarter')),
    op            text NOT NULL CHECK (op IN ('>', '>=', '<', '<=')),
    value         double precision NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org_id, threshold_id)
);
CALL protect_tenant_table('webhook_threshold');

-- In which periods a threshold is reached at the moment: told once, until it no longer is.
CREATE TABLE webhook_threshold_reached (
    org_id        uuid NOT NULL,
    threshold_id  uuid NOT NULL,
    period_key    text COLLATE "C" NOT NULL,
    reached_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org_id, threshold_id, period_key),
    FOREIGN KEY (org_id, threshold_id) REFERENCES webhook_threshold ON DELETE CASCADE
);
CALL protect_tenant_table('webhook_threshold_reached');
