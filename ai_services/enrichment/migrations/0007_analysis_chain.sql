-- What is known of an analysed call beyond its four facts, and the work of language models on it.
CREATE TABLE call_insight (
    org_id                uuid NOT NULL,
    callid                text COLLATE "C" NOT NULL,
    step                  text NOT NULL CHECK (step IN ('cache', 'trivial', 'local', 'model', 'fallback', 'person')),
    degraded              boolean NOT NULL,          -- a model was to judge it, and hasn't
    waits                 boolean NOT NULL,          -- and shall: false for dead letters
    confidence            double precision CHECK (confidence BETWEEN 0 AND 1),
    evidence              jsonb NOT NULL DEFAULT '[]',   -- [{"turn", "text"}]: quotes that stand in the transcript
    summary               text,
    topic                 text,                      -- of the organisation's own list, or 'other'
    follow_up             text,                      -- null: none is needed
    callbacks             jsonb NOT NULL DEFAULT '[]',   -- [{"said", "date", "time"}]
    resolution            text CHECK (resolution IN ('resolved', 'partly', 'unresolved', 'no_request')),
    agent_quality         smallint CHECK (agent_quality BETWEEN 1 AND 5),
    agent_quality_reason  text,
    talk_ratio            double precision CHECK (talk_ratio BETWEEN 0 AND 1),   -- the agent's share of the talking
    silence_ratio         double precision CHECK (silence_ratio BETWEEN 0 AND 1),
    interruptions         integer CHECK (interruptions >= 0),
    script_missing        text[] NOT NULL DEFAULT '{}',
    script_forbidden      text[] NOT NULL DEFAULT '{}',
    updated_at            timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, callid),
    FOREIGN KEY (org_id, callid) REFERENCES call_record_enriched ON DELETE CASCADE
);
-- The queue of the models.
CREATE INDEX call_insight_waits ON call_insight (org_id, callid) WHERE waits;
CALL protect_tenant_table('call_insight');

-- Calls are claimed for a first look and for models, and no claim of one kind ends one of the other.
ALTER TABLE analysis_claim ADD COLUMN by_models boolean NOT NULL DEFAULT false;

-- Verdicts of models by what they judged: the same words are paid for once.
CREATE TABLE analysis_cache (
    org_id      uuid NOT NULL,
    digest      bytea NOT NULL,                      -- of the normalised turns, the model and the prompt
    verdict     jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, digest)
);
CREATE INDEX analysis_cache_by_age ON analysis_cache (created_at);
CALL protect_tenant_table('analysis_cache', 'SELECT, INSERT, DELETE');

-- Requests that are under way, or were when a process was killed: they are asked again as they were,
-- so that an answer that was paid for is found and none is paid for twice.
CREATE TABLE analysis_request (
    org_id      uuid NOT NULL,
    request     bytea NOT NULL,                      -- digest of the digests
    claim       bigint NOT NULL,                     -- whose it is
    digests     bytea[] NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, request)
);
CALL protect_tenant_table('analysis_request');

-- Calls that no answer of a model fits, until they are replayed.
CREATE TABLE analysis_dead_letter (
    org_id      uuid NOT NULL,
    callid      text COLLATE "C" NOT NULL,
    reason      text NOT NULL CHECK (reason IN ('invalid', 'missing', 'refused', 'timeout', 'too_long')),
    detail      text NOT NULL,
    analyzer    text NOT NULL,                       -- the model and the prompt that were asked
    failed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, callid),
    FOREIGN KEY (org_id, callid) REFERENCES call_record_enriched ON DELETE CASCADE
);
CALL protect_tenant_table('analysis_dead_letter');

-- What an organisation wants to know of its calls; no row: the defaults.
CREATE TABLE analysis_setting (
    org_id        uuid PRIMARY KEY,
    topics        text[] NOT NULL DEFAULT '{}',
    must_say      text[] NOT NULL DEFAULT '{}',
    must_not_say  text[] NOT NULL DEFAULT '{}',
    updated_at    timestamptz NOT NULL DEFAULT now()
);
CALL protect_tenant_table('analysis_setting');

-- Batches of requests that a provider answers within a day. What a killed process may have sent is made
-- again with the same key, and is the batch that there is.
CREATE TABLE analysis_backfill (
    org_id      uuid NOT NULL,
    backfill    uuid NOT NULL,                       -- the key it is made with
    packs       jsonb,                               -- request -> id -> digest; null: not sent yet
    file        text,                                -- the llm service's names
    batch       text,
    held_until  timestamptz NOT NULL,                -- by who sends it or looks after it
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, backfill)
);
CALL protect_tenant_table('analysis_backfill');

-- Calls that wait for one; those whose transcript is corrected meanwhile are asked about as others are.
CREATE TABLE analysis_backfill_call (
    org_id    uuid NOT NULL,
    callid    text COLLATE "C" NOT NULL,
    backfill  uuid NOT NULL,
    since     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, callid),
    FOREIGN KEY (org_id, callid) REFERENCES call_record_enriched ON DELETE CASCADE,
    FOREIGN KEY (org_id, backfill) REFERENCES analysis_backfill ON DELETE CASCADE
);
CREATE INDEX analysis_backfill_call_of ON analysis_backfill_call (org_id, backfill);
CALL protect_tenant_table('analysis_backfill_call');
