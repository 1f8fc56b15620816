-- Jobs, their schedules, and what kinds of job there are.

-- Every claim has a number of its own, and whoever claims later has a higher one: it fences effects.
CREATE SEQUENCE job_fence;
GRANT USAGE ON SEQUENCE job_fence TO looma_app, looma_system;

-- What the programs that run can do, as they declare it at their start: for those that show, start
-- and pause jobs without running any.
CREATE TABLE job_type (
    name         text COLLATE "C" PRIMARY KEY,
    service      text NOT NULL,
    summary      text NOT NULL,
    cron         text,                        -- where no organisation says otherwise; null: none
    per_org      boolean NOT NULL,            -- scheduled for each organisation, or once for the platform
    priority     smallint NOT NULL,
    exclusive     boolean NOT NULL,
    time_limit   interval NOT NULL,
    max_failures integer NOT NULL,
    paused       boolean NOT NULL DEFAULT false,
    declared_at  timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT ON job_type TO looma_app;
GRANT SELECT, INSERT, UPDATE ON job_type TO looma_system;

CREATE TABLE job_schedule (
    schedule_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id       uuid REFERENCES organisation ON DELETE CASCADE,  -- null: the platform itself
    owner        uuid NOT NULL GENERATED ALWAYS AS
                     (coalesce(org_id, '00000000-0000-0000-0000-000000000000')) STORED,
    name         text COLLATE "C" NOT NULL REFERENCES job_type,
    cron         text NOT NULL,
    zone         text NOT NULL,               -- in which next_at was found
    own          boolean NOT NULL DEFAULT false,  -- cron was chosen by the organisation
    paused       boolean NOT NULL DEFAULT false,
    next_at      timestamptz,                 -- null: the expression has no further time
    last_at      timestamptz,                 -- the time for which it ran last
    UNIQUE (owner, name)
);
CREATE INDEX job_schedule_due ON job_schedule (next_at) WHERE NOT paused;
CALL protect_tenant_table('job_schedule', 'SELECT, UPDATE');
GRANT INSERT, DELETE ON job_schedule TO looma_system;

CREATE TABLE job (
    job_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id        uuid,                       -- null: the platform itself
    owner         uuid NOT NULL GENERATED ALWAYS AS
                      (coalesce(org_id, '00000000-0000-0000-0000-000000000000')) STORED,
    name          text COLLATE "C" NOT NULL,
    args          jsonb NOT NULL,
    priority      smallint NOT NULL,          -- among the jobs of its owner; the highest runs first
    exclusive      boolean NOT NULL,           -- one of this name at a time for its owner
    dedupe_key    text,                       -- one unfinished job per owner, name and key
    state         text NOT NULL CHECK (state IN
                      ('waiting', 'queued', 'running', 'paused', 'succeeded', 'dead', 'cancelled')),
    run_at        timestamptz NOT NULL,       -- not before; a waiting job is queued then
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The claim. The number is a key of the row (see job_claim), and 0 when nobody holds it.
    fence         bigint NOT NULL DEFAULT 0,
    worker        text,
    lease_until   timestamptz,
    renewed_at    timestamptz,
    stop          text CHECK (stop IN ('cancelled', 'paused')),  -- what a running job was asked to be
    failures      integer NOT NULL DEFAULT 0,
    lost          integer NOT NULL DEFAULT 0, -- claims whose worker was lost since the last checkpoint
    spent         interval NOT NULL DEFAULT '0',  -- running time of this attempt, in earlier claims too
    error         text,                       -- of the last failure
    result        jsonb,
    cursor        jsonb,                      -- the last checkpoint
    done          bigint NOT NULL DEFAULT 0,
    total         bigint,
    done_before   bigint NOT NULL DEFAULT 0,  -- when it was claimed
    started_at    timestamptz,                -- first claimed
    claimed_at    timestamptz,
    finished_at   timestamptz,
    schedule_id   bigint REFERENCES job_schedule ON DELETE SET NULL,
    scheduled_for timestamptz,                -- the time of its schedule for which it runs
    CHECK ((state = 'running') = (fence > 0)),
    CHECK ((state IN ('succeeded', 'dead', 'cancelled')) = (finished_at IS NOT NULL))
);
-- An effect holds its row FOR KEY SHARE. This index makes the number a part of a key, so that what
-- changes it waits for that lock or passes the row over, and renewing a lease doesn't.
CREATE UNIQUE INDEX job_claim ON job (job_id, fence);
CREATE INDEX job_queue ON job (name, owner, priority DESC, run_at, job_id) WHERE state = 'queued';
CREATE INDEX job_waiting ON job (run_at) WHERE state = 'waiting';
CREATE INDEX job_running ON job (name, owner) WHERE state = 'running';
CREATE UNIQUE INDEX job_exclusive ON job (name, owner) WHERE state = 'running' AND exclusive;
CREATE UNIQUE INDEX job_dedupe ON job (owner, name, dedupe_key)
    WHERE dedupe_key IS NOT NULL AND finished_at IS NULL;
CREATE UNIQUE INDEX job_of_schedule ON job (schedule_id)
    WHERE schedule_id IS NOT NULL AND finished_at IS NULL;
CREATE INDEX job_listing ON job (org_id, job_id);
CREATE INDEX job_finished ON job (finished_at) WHERE finished_at IS NOT NULL;
CALL protect_tenant_table('job', 'SELECT, INSERT, UPDATE');
GRANT DELETE ON job TO looma_system;
GRANT USAGE ON SEQUENCE job_job_id_seq TO looma_app, looma_system;
