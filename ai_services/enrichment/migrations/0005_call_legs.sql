-- The legs of calls of which a PBX writes a row each: kept to be looked at, and to join those that come later.
CREATE TABLE call_leg (
    org_id        uuid NOT NULL,
    callid        text COLLATE "C" NOT NULL,
    leg_id        text COLLATE "C" NOT NULL CHECK (length(leg_id) BETWEEN 1 AND 200),
    task_id       text COLLATE "C",
    user_id       text COLLATE "C" NOT NULL,
    customer_id   text COLLATE "C",
    started_at    timestamptz NOT NULL,
    duration_ms   integer NOT NULL CHECK (duration_ms >= 0),
    bill_ms       integer NOT NULL CHECK (bill_ms >= 0),
    rounds        integer NOT NULL CHECK (rounds >= 0),
    level_name    text CHECK (level_name IN ('A', 'B', 'C', 'D', 'E', 'F')),
    hangup_by     smallint CHECK (hangup_by IN (1, 2)),
    call_status   text NOT NULL CHECK (call_status IN ('connected', 'busy', 'no_answer',
                      'power_off', 'invalid_number', 'rejected', 'failed')),
    phone_cipher  bytea,                    -- as in call_record_enriched
    phone_masked  text,
    turns         jsonb,                    -- what was said in this leg; times from its own start
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, callid, leg_id),
    FOREIGN KEY (org_id, callid) REFERENCES call_record_enriched ON DELETE CASCADE
);
CALL protect_tenant_table('call_leg');
