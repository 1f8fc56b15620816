-- Call records with their analysis, transcripts apart from metrics, imports and what they refused.
CREATE TABLE call_record_enriched (
    org_id           uuid NOT NULL,
    callid           text COLLATE "C" NOT NULL CHECK (length(callid) BETWEEN 1 AND 64),
    task_id          text COLLATE "C",
    user_id          text COLLATE "C" NOT NULL CHECK (length(user_id) BETWEEN 1 AND 64),
    customer_id      text COLLATE "C",
    call_date        date NOT NULL,           -- local to the organisation's time zone
    started_at       timestamptz NOT NULL,
    duration_ms      integer NOT NULL CHECK (duration_ms >= 0),
    bill_ms          integer NOT NULL CHECK (bill_ms >= 0),
    rounds           integer NOT NULL CHECK (rounds >= 0),
    level_name       text CHECK (level_name IN ('A', 'B', 'C', 'D', 'E', 'F')),
    hangup_by        smallint CHECK (hangup_by IN (1, 2)),
    call_status      text NOT NULL CHECK (call_status IN ('connected', 'busy', 'no_answer',
                         'power_off', 'invalid_number', 'rejected', 'failed')),
    phone_cipher     bytea,                   -- AES-SIV, the organisation as associated data
    phone_masked     text,
    has_transcript   boolean NOT NULL DEFAULT false,
    sentiment        text CHECK (sentiment IN ('positive', 'neutral', 'negative')),
    sentiment_score  double precision CHECK (sentiment_score BETWEEN 0 AND 1),
    complaint_risk   text CHECK (complaint_risk IN ('low', 'medium', 'high')),
    churn_risk       text CHECK (churn_risk IN ('low', 'medium', 'high')),
    reason           text,
    analyzer         text,
    llm_analyzed_at  timestamptz,
    moved_from       text[],                  -- {user_id, customer_id} before the last write, if that changed them
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, callid)
);
CREATE INDEX call_by_user ON call_record_enriched (org_id, user_id, started_at, callid);
CREATE INDEX call_by_date ON call_record_enriched (org_id, call_date);
-- The analyser's queue: calls whose transcript no analyser has seen.
CREATE INDEX call_unanalysed ON call_record_enriched (org_id, callid)
    WHERE has_transcript AND llm_analyzed_at IS NULL;
CALL protect_tenant_table('call_record_enriched');

CREATE TABLE call_transcript (
    org_id      uuid NOT NULL,
    callid      text COLLATE "C" NOT NULL,
    turns       jsonb NOT NULL,               -- [{"role", "at_ms", "text"}]
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, callid),
    FOREIGN KEY (org_id, callid) REFERENCES call_record_enriched ON DELETE CASCADE
);
CALL protect_tenant_table('call_transcript');

CREATE TABLE import_run (
    org_id       uuid NOT NULL,
    import_id    uuid NOT NULL DEFAULT gen_random_uuid(),
    source       text NOT NULL,
    preset       text NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    inserted     bigint NOT NULL DEFAULT 0,
    updated      bigint NOT NULL DEFAULT 0,
    unchanged    bigint NOT NULL DEFAULT 0,
    duplicates   bigint NOT NULL DEFAULT 0,
    rejected     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (org_id, import_id)
);
CALL protect_tenant_table('import_run');

CREATE TABLE import_reject (
    org_id      uuid NOT NULL,
    import_id   uuid NOT NULL,
    line        bigint NOT NULL,
    field       text NOT NULL,
    value       text NOT NULL,
    problem     text NOT NULL,
    fix         text NOT NULL,
    raw         text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (org_id, import_id) REFERENCES import_run ON DELETE CASCADE
);
CREATE INDEX import_reject_run ON import_reject (org_id, import_id, line);
CALL protect_tenant_table('import_reject');
