-- Systems that stay connected: how far each of their tables is in, and which call came from where.
CREATE TABLE source_shard (
    org_id      uuid NOT NULL,
    source      text NOT NULL,               -- its name in the sources file
    shard       text NOT NULL,               -- the table there
    through     timestamptz,                 -- up to when everything that it had is in; null: nothing yet
    read_at     timestamptz,                 -- when it was last read to its end
    error       text,                        -- why it can't be read, since it last could
    PRIMARY KEY (org_id, source, shard)
);
CALL protect_tenant_table('source_shard');

CREATE TABLE source_sync (
    org_id      uuid NOT NULL,
    source      text NOT NULL,
    since       timestamptz NOT NULL DEFAULT now(),  -- when it was first seen
    synced_at   timestamptz,                 -- when all of it was last read to its end
    error       text,                        -- why it was not, since then
    PRIMARY KEY (org_id, source)
);
CALL protect_tenant_table('source_sync');

-- A call belongs to the table that first had it: another one's call of the same id is left out.
CREATE TABLE source_call (
    org_id      uuid NOT NULL,
    callid      text COLLATE "C" NOT NULL,
    source      text NOT NULL,
    shard       text NOT NULL,
    PRIMARY KEY (org_id, callid),
    FOREIGN KEY (org_id, callid) REFERENCES call_record_enriched ON DELETE CASCADE
);
CALL protect_tenant_table('source_call');

-- The messages that came in, for as long as one may be sent again.
CREATE TABLE source_message (
    org_id      uuid NOT NULL,
    source      text NOT NULL,
    message_id  text NOT NULL CHECK (length(message_id) BETWEEN 1 AND 200),
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, source, message_id)
);
CREATE INDEX source_message_age ON source_message (received_at);
CALL protect_tenant_table('source_message', 'SELECT, INSERT, DELETE');
