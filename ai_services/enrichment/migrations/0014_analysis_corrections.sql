-- What people have decided of analysed calls: it wins over every analyser until it is withdrawn.
ALTER TABLE call_record_enriched
    ADD COLUMN corrected text[] NOT NULL DEFAULT '{}';  -- the names of these facts, for lists of calls

CREATE TABLE call_correction (
    org_id        uuid NOT NULL,
    callid        text COLLATE "C" NOT NULL,
    version       integer NOT NULL,                    -- of its history, whose last entry this is
    facts         jsonb NOT NULL,                      -- fact → value, as the call has them; {}: all are withdrawn
    analysed      jsonb NOT NULL,                      -- the same facts as the analyser has them
    corrected_at  timestamptz NOT NULL,
    corrected_by  text NOT NULL,
    PRIMARY KEY (org_id, callid),
    FOREIGN KEY (org_id, callid) REFERENCES call_record_enriched ON DELETE CASCADE
);
CALL protect_tenant_table('call_correction');

-- Every change of that. It goes with its call: the audit log, which stays, names only the correction.
CREATE TABLE call_correction_entry (
    org_id         uuid NOT NULL,
    callid         text COLLATE "C" NOT NULL,
    version        integer NOT NULL,
    correction_id  uuid NOT NULL DEFAULT gen_random_uuid(),
    kind           text NOT NULL CHECK (kind IN ('corrected', 'withdrawn')),
    at             timestamptz NOT NULL,
    actor          text NOT NULL,
    reason         text,
    before         jsonb NOT NULL,                     -- fact → value, of those that it changed
    after          jsonb NOT NULL,
    PRIMARY KEY (org_id, callid, version),
    FOREIGN KEY (org_id, callid) REFERENCES call_record_enriched ON DELETE CASCADE
);
CALL protect_tenant_table('call_correction_entry', 'SELECT, INSERT, DELETE');
