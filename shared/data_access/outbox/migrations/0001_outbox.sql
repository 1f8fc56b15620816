-- Facts on their way to the projections, and those that could not be applied.
CREATE TABLE outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id      uuid NOT NULL,
    projection  text NOT NULL,                -- search / graph / vectors
    topic       text NOT NULL,
    key         text NOT NULL,                -- events of one key are applied in order
    -- The key with its projection and organisation, as one number: looked for without statistics.
    lane        bigint NOT NULL GENERATED ALWAYS AS
                    (hashtextextended(projection || '/' || org_id::text || '/' || key, 0)) STORED,
    payload     jsonb NOT NULL,
    attempts    integer NOT NULL DEFAULT 0,
    not_before  timestamptz NOT NULL DEFAULT now(),
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_queue ON outbox (projection, org_id, id);
CREATE INDEX outbox_lane ON outbox (lane, id);
CALL protect_tenant_table('outbox');
GRANT USAGE ON SEQUENCE outbox_id_seq TO looma_app, looma_system;

CREATE TABLE outbox_dead_letter (
    id          bigint PRIMARY KEY,           -- the outbox id it had
    org_id      uuid NOT NULL,
    projection  text NOT NULL,
    topic       text NOT NULL,
    key         text NOT NULL,
    payload     jsonb NOT NULL,
    attempts    integer NOT NULL,
    error       text NOT NULL,
    created_at  timestamptz NOT NULL,
    died_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_dead_letter_queue ON outbox_dead_letter (projection, id);
CALL protect_tenant_table('outbox_dead_letter');
