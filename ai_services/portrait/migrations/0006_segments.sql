-- Segments: named conditions over the figures of portraits, who fulfils them, and how many that were.
CREATE TABLE segment (
    org_id        uuid NOT NULL,
    name          text COLLATE "C" NOT NULL,
    dimension     text NOT NULL,               -- whose portraits: user, customer, …
    period_type   text NOT NULL CHECK (period_type IN ('week', 'month', 'quarter')),
    period        text NOT NULL CHECK (period IN ('newest', 'ended')),
    expression    text NOT NULL,
    description   text NOT NULL,
    version       integer NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    updated_by    text NOT NULL,
    -- Of the last time that its members were found.
    size          bigint,                      -- null: never yet
    period_key    text COLLATE "C",
    refreshed_at  timestamptz,
    found_version integer,                     -- the version that they were found by
    problem       text,                        -- why they could not be found the last time
    PRIMARY KEY (org_id, name)
);
CALL protect_tenant_table('segment');

-- What a segment was, by version, and who made it so.
CREATE TABLE segment_version (
    org_id        uuid NOT NULL,
    segment       text COLLATE "C" NOT NULL,
    version       integer NOT NULL,
    period_type   text NOT NULL,
    period        text NOT NULL,
    expression    text NOT NULL,
    description   text NOT NULL,
    updated_at    timestamptz NOT NULL,
    updated_by    text NOT NULL,
    PRIMARY KEY (org_id, segment, version),
    FOREIGN KEY (org_id, segment) REFERENCES segment (org_id, name) ON DELETE CASCADE
);
CALL protect_tenant_table('segment_version');

CREATE TABLE segment_member (
    org_id        uuid NOT NULL,
    segment       text COLLATE "C" NOT NULL,
    subject       text COLLATE "C" NOT NULL,
    since         timestamptz NOT NULL,
    PRIMARY KEY (org_id, segment, subject)
);
CALL protect_tenant_table('segment_member');

-- One row per day on which its members were found: how many they were the last time.
CREATE TABLE segment_size (
    org_id        uuid NOT NULL,
    segment       text COLLATE "C" NOT NULL,
    day           date NOT NULL,               -- local to the organisation
    period_key    text COLLATE "C" NOT NULL,
    version       integer NOT NULL,
    size          bigint NOT NULL,
    entered       bigint NOT NULL,             -- on that day, all times together
    gone          bigint NOT NULL,
    measured_at   timestamptz NOT NULL,
    PRIMARY KEY (org_id, segment, day),
    FOREIGN KEY (org_id, segment) REFERENCES segment (org_id, name) ON DELETE CASCADE
);
CALL protect_tenant_table('segment_size');
