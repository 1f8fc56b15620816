-- Portraits of campaigns and of agents; and of everybody the sums that deltas need: each reason by itself,
-- sentiment scores as integers of 2^-36.
CREATE TABLE task_portrait_snapshot (
    org_id                 uuid NOT NULL,
    task_id                text COLLATE "C" NOT NULL,
    period_type            text NOT NULL,
    period_key             text COLLATE "C" NOT NULL,
    period_start           date NOT NULL,
    period_end             date NOT NULL,
    total_calls            bigint NOT NULL,
    connected_calls        bigint NOT NULL,
    connect_rate           double precision,
    total_duration         numeric(20, 3) NOT NULL,
    avg_duration           double precision,
    total_rounds           bigint NOT NULL,
    avg_rounds             double precision,
    level_a_count          bigint NOT NULL,
    level_b_count          bigint NOT NULL,
    level_c_count          bigint NOT NULL,
    level_d_count          bigint NOT NULL,
    level_e_count          bigint NOT NULL,
    level_f_count          bigint NOT NULL,
    robot_hangup_count     bigint NOT NULL,
    user_hangup_count      bigint NOT NULL,
    fail_reason_dist       jsonb NOT NULL,
    busy_count             bigint NOT NULL,
    no_answer_count        bigint NOT NULL,
    power_off_count        bigint NOT NULL,
    invalid_number_count   bigint NOT NULL,
    rejected_count         bigint NOT NULL,
    failed_count           bigint NOT NULL,
    positive_count         bigint NOT NULL,
    neutral_count          bigint NOT NULL,
    negative_count         bigint NOT NULL,
    scored_calls           bigint NOT NULL,
    score_units            bigint NOT NULL,
    sentiment_score_sum    double precision NOT NULL,
    avg_sentiment_score    double precision,
    high_complaint_risk    bigint NOT NULL,
    medium_complaint_risk  bigint NOT NULL,
    low_complaint_risk     bigint NOT NULL,
    high_churn_risk        bigint NOT NULL,
    medium_churn_risk      bigint NOT NULL,
    low_churn_risk         bigint NOT NULL,
    analysed_calls         bigint NOT NULL,
    degraded_calls         bigint NOT NULL,
    computed_at            timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, period_type, period_key, task_id)
) WITH (fillfactor = 70);
CREATE INDEX snapshot_by_task ON task_portrait_snapshot (org_id, task_id, period_type, period_key);
CALL protect_tenant_table('task_portrait_snapshot');

CREATE TABLE agent_portrait_snapshot (
    org_id                 uuid NOT NULL,
    agent_id               text COLLATE "C" NOT NULL,
    period_type            text NOT NULL,
    period_key             text COLLATE "C" NOT NULL,
    period_start           date NOT NULL,
    period_end             date NOT NULL,
    total_calls            bigint NOT NULL,
    connected_calls        bigint NOT NULL,
    connect_rate           double precision,
    total_duration         numeric(20, 3) NOT NULL,
    avg_duration           double precision,
    total_rounds           bigint NOT NULL,
    avg_rounds             double precision,
    level_a_count          bigint NOT NULL,
    level_b_count          bigint NOT NULL,
    level_c_count          bigint NOT NULL,
    level_d_count          bigint NOT NULL,
    level_e_count          bigint NOT NULL,
    level_f_count          bigint NOT NULL,
    robot_hangup_count     bigint NOT NULL,
    user_hangup_count      bigint NOT NULL,
    fail_reason_dist       jsonb NOT NULL,
    busy_count             bigint NOT NULL,
    no_answer_count        bigint NOT NULL,
    power_off_count        bigint NOT NULL,
    invalid_number_count   bigint NOT NULL,
    rejected_count         bigint NOT NULL,
    failed_count           bigint NOT NULL,
    positive_count         bigint NOT NULL,
    neutral_count          bigint NOT NULL,
    negative_count         bigint NOT NULL,
    scored_calls           bigint NOT NULL,
    score_units            bigint NOT NULL,
    sentiment_score_sum    double precision NOT NULL,
    avg_sentiment_score    double precision,
    high_complaint_risk    bigint NOT NULL,
    medium_complaint_risk  bigint NOT NULL,
    low_complaint_risk     bigint NOT NULL,
    high_churn_risk        bigint NOT NULL,
    medium_churn_risk      bigint NOT NULL,
    low_churn_risk         bigint NOT NULL,
    analysed_calls         bigint NOT NULL,
    degraded_calls         bigint NOT NULL,
    computed_at            timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, period_type, period_key, agent_id)
) WITH (fillfactor = 70);
CREATE INDEX snapshot_by_agent ON agent_portrait_snapshot (org_id, agent_id, period_type, period_key);
CALL protect_tenant_table('agent_portrait_snapshot');

ALTER TABLE user_portrait_snapshot
    ADD COLUMN busy_count            bigint NOT NULL DEFAULT 0,
    ADD COLUMN no_answer_count       bigint NOT NULL DEFAULT 0,
    ADD COLUMN power_off_count       bigint NOT NULL DEFAULT 0,
    ADD COLUMN invalid_number_count  bigint NOT NULL DEFAULT 0,
    ADD COLUMN rejected_count        bigint NOT NULL DEFAULT 0,
    ADD COLUMN failed_count          bigint NOT NULL DEFAULT 0,
    ADD COLUMN score_units           bigint NOT NULL DEFAULT 0,
    ADD COLUMN analysed_calls        bigint NOT NULL DEFAULT 0,
    ADD COLUMN degraded_calls        bigint NOT NULL DEFAULT 0;
ALTER TABLE customer_portrait_snapshot
    ADD COLUMN busy_count            bigint NOT NULL DEFAULT 0,
    ADD COLUMN no_answer_count       bigint NOT NULL DEFAULT 0,
    ADD COLUMN power_off_count       bigint NOT NULL DEFAULT 0,
    ADD COLUMN invalid_number_count  bigint NOT NULL DEFAULT 0,
    ADD COLUMN rejected_count        bigint NOT NULL DEFAULT 0,
    ADD COLUMN failed_count          bigint NOT NULL DEFAULT 0,
    ADD COLUMN score_units           bigint NOT NULL DEFAULT 0,
    ADD COLUMN analysed_calls        bigint NOT NULL DEFAULT 0,
    ADD COLUMN degraded_calls        bigint NOT NULL DEFAULT 0;
ALTER TABLE period_summary
    ADD COLUMN busy_count            bigint NOT NULL DEFAULT 0,
    ADD COLUMN no_answer_count       bigint NOT NULL DEFAULT 0,
    ADD COLUMN power_off_count       bigint NOT NULL DEFAULT 0,
    ADD COLUMN invalid_number_count  bigint NOT NULL DEFAULT 0,
    ADD COLUMN rejected_count        bigint NOT NULL DEFAULT 0,
    ADD COLUMN failed_count          bigint NOT NULL DEFAULT 0,
    ADD COLUMN score_units           bigint NOT NULL DEFAULT 0,
    ADD COLUMN analysed_calls        bigint NOT NULL DEFAULT 0,
    ADD COLUMN degraded_calls        bigint NOT NULL DEFAULT 0;
-- Rows that are counted up stay on their page.
ALTER TABLE user_portrait_snapshot SET (fillfactor = 70);
ALTER TABLE customer_portrait_snapshot SET (fillfactor = 85);
ALTER TABLE period_summary SET (fillfactor = 50);

ALTER TABLE period_registry
    ADD COLUMN completed_at timestamptz;  -- when it was first closed; what comes in later reopens it

-- What doesn't add up from periods: by day, for users, tasks, agents and, as subject '', the organisation.
-- Rows whose calls are gone may stay, as zeros.
CREATE TABLE portrait_hour (
    org_id     uuid NOT NULL,
    dimension  text COLLATE "C" NOT NULL CHECK (dimension IN ('user', 'task', 'agent', 'organisation')),
    subject    text COLLATE "C" NOT NULL,
    call_date  date NOT NULL,
    hour       smallint NOT NULL CHECK (hour BETWEEN 0 AND 23),  -- in portrait_counting.timezone
    calls      bigint NOT NULL,
    connected  bigint NOT NULL,
    PRIMARY KEY (org_id, dimension, subject, call_date, hour)
) WITH (fillfactor = 70);
CALL protect_tenant_table('portrait_hour');

CREATE TABLE portrait_duration (
    org_id     uuid NOT NULL,
    dimension  text COLLATE "C" NOT NULL CHECK (dimension IN ('user', 'task', 'agent', 'organisation')),
    subject    text COLLATE "C" NOT NULL,
    call_date  date NOT NULL,
    bucket     smallint NOT NULL,             -- of the duration of connected calls: law/durations.py
    calls      bigint NOT NULL,
    PRIMARY KEY (org_id, dimension, subject, call_date, bucket)
) WITH (fillfactor = 70);
CALL protect_tenant_table('portrait_duration');

-- Which periods a customer is in, its calls tell: they are few, and have an index of their own.
DROP INDEX snapshot_by_customer;
