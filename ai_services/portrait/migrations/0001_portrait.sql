-- Natural periods, one snapshot per user and period, and the sums of a period over its users.
CREATE TABLE period_registry (
    org_id        uuid NOT NULL,
    period_type   text NOT NULL CHECK (period_type IN ('week', 'month', 'quarter')),
    period_key    text COLLATE "C" NOT NULL,  -- 2024-W49 / 2024-11 / 2024-Q4
    period_start  date NOT NULL,
    period_end    date NOT NULL,              -- inclusive
    status        text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'computing', 'completed')),
    computed_at   timestamptz,                -- when it was last computed, also while it still ran
    PRIMARY KEY (org_id, period_type, period_key)
);
CALL protect_tenant_table('period_registry');

CREATE TABLE user_portrait_snapshot (
    org_id                 uuid NOT NULL,
    user_id                text COLLATE "C" NOT NULL,
    period_type            text NOT NULL,
    period_key             text COLLATE "C" NOT NULL,
    period_start           date NOT NULL,
    period_end             date NOT NULL,
    total_calls            bigint NOT NULL,
    connected_calls        bigint NOT NULL,
    connect_rate           double precision,  -- null over nothing
    total_duration         numeric(20, 3) NOT NULL,  -- seconds over connected calls, exact
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
    fail_reason_dist       jsonb NOT NULL,    -- {"busy": 10, …}, only reasons that occurred
    positive_count         bigint NOT NULL,
    neutral_count          bigint NOT NULL,
    negative_count         bigint NOT NULL,
    scored_calls           bigint NOT NULL,   -- connected calls that have a score
    sentiment_score_sum    double precision NOT NULL,  -- over those
    avg_sentiment_score    double precision,  -- sentiment_score_sum / scored_calls
    high_complaint_risk    bigint NOT NULL,
    medium_complaint_risk  bigint NOT NULL,
    low_complaint_risk     bigint NOT NULL,
    high_churn_risk        bigint NOT NULL,
    medium_churn_risk      bigint NOT NULL,
    low_churn_risk         bigint NOT NULL,
    computed_at            timestamptz NOT NULL DEFAULT now(),  -- when these figures last changed
    PRIMARY KEY (org_id, period_type, period_key, user_id)
);
CREATE INDEX snapshot_by_user ON user_portrait_snapshot (org_id, user_id, period_type, period_key);
CALL protect_tenant_table('user_portrait_snapshot');

-- Written with the snapshots in one statement, so that a summary or a trend of an organisation
-- reads one row per period however many users there are. Rates follow from the sums.
CREATE TABLE period_summary (
    org_id                 uuid NOT NULL,
    period_type            text NOT NULL,
    period_key             text COLLATE "C" NOT NULL,
    users                  bigint NOT NULL CHECK (users > 0),
    total_calls            bigint NOT NULL,
    connected_calls        bigint NOT NULL,
    total_duration         numeric(20, 3) NOT NULL,
    total_rounds           bigint NOT NULL,
    level_a_count          bigint NOT NULL,
    level_b_count          bigint NOT NULL,
    level_c_count          bigint NOT NULL,
    level_d_count          bigint NOT NULL,
    level_e_count          bigint NOT NULL,
    level_f_count          bigint NOT NULL,
    robot_hangup_count     bigint NOT NULL,
    user_hangup_count      bigint NOT NULL,
    fail_reason_dist       jsonb NOT NULL,
    positive_count         bigint NOT NULL,
    neutral_count          bigint NOT NULL,
    negative_count         bigint NOT NULL,
    scored_calls           bigint NOT NULL,
    sentiment_score_sum    double precision NOT NULL,
    high_complaint_risk    bigint NOT NULL,
    medium_complaint_risk  bigint NOT NULL,
    low_complaint_risk     bigint NOT NULL,
    high_churn_risk        bigint NOT NULL,
    medium_churn_risk      bigint NOT NULL,
    low_churn_risk         bigint NOT NULL,
    computed_at            timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, period_type, period_key)
);
CALL protect_tenant_table('period_summary');
