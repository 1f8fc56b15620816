-- Portraits of customers, by the same figures as those of users.
CREATE TABLE customer_portrait_snapshot (
    org_id                 uuid NOT NULL,
    customer_id            text COLLATE "C" NOT NULL,
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
    PRIMARY KEY (org_id, period_type, period_key, customer_id)
);
CREATE INDEX snapshot_by_customer
    ON customer_portrait_snapshot (org_id, customer_id, period_type, period_key);
CALL protect_tenant_table('customer_portrait_snapshot');

ALTER TABLE period_summary ADD COLUMN customers bigint;  -- null: computed before they had portraits
