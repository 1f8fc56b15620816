-- What happened to calls and isn't counted in portraits yet, written by whatever statement changes them, in
-- its transaction: one row for a call that came, with sign 1, or went, with sign -1, and two with one number
-- for a call of which something that is counted has changed.
CREATE TABLE portrait_change (
    org_id           uuid NOT NULL,
    seq              bigint NOT NULL,
    sign             smallint NOT NULL CHECK (sign IN (-1, 1)),
    changed_at       timestamptz NOT NULL,
    user_id          text COLLATE "C" NOT NULL,
    customer_id      text COLLATE "C",
    task_id          text COLLATE "C",
    agent_id         text COLLATE "C",
    call_date        date NOT NULL,
    started_at       timestamptz NOT NULL,
    duration_ms      integer NOT NULL,
    rounds           integer NOT NULL,
    level_name       text,
    hangup_by        smallint,
    call_status      text NOT NULL,
    sentiment        text,
    sentiment_score  double precision,
    complaint_risk   text,
    churn_risk       text,
    analysed         boolean NOT NULL,
    degraded         boolean NOT NULL,
    PRIMARY KEY (org_id, seq, sign)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000000);
CALL protect_tenant_table('portrait_change');
CREATE SEQUENCE portrait_change_seq CACHE 1;
GRANT USAGE ON SEQUENCE portrait_change_seq TO looma_app, looma_system;

-- How far counting is with an organisation; no row: nothing of it was ever counted.
CREATE TABLE portrait_counting (
    org_id    uuid PRIMARY KEY,
    timezone  text NOT NULL,                  -- the hours of portrait_hour are in this one
    trusted   boolean NOT NULL                -- false: its portraits are not from the log; first they are computed
);
CALL protect_tenant_table('portrait_counting');

CREATE FUNCTION log_calls_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO portrait_change (
        org_id, seq, sign, changed_at, user_id, customer_id, task_id, agent_id, call_date,
        started_at, duration_ms, rounds, level_name, hangup_by, call_status, sentiment,
        sentiment_score, complaint_risk, churn_risk, analysed, degraded)
    SELECT org_id, nextval('portrait_change_seq'), 1, clock_timestamp(),
        user_id, customer_id, task_id, agent_id, call_date, started_at, duration_ms, rounds,
        level_name, hangup_by, call_status, sentiment, sentiment_score, complaint_risk, churn_risk,
        llm_analyzed_at IS NOT NULL, degraded
    FROM came;
    RETURN NULL;
END $$;
CREATE TRIGGER log_calls_inserted AFTER INSERT ON call_record_enriched
    REFERENCING NEW TABLE AS came
    FOR EACH STATEMENT EXECUTE FUNCTION log_calls_inserted();

CREATE FUNCTION log_calls_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO portrait_change (
        org_id, seq, sign, changed_at, user_id, customer_id, task_id, agent_id, call_date,
        started_at, duration_ms, rounds, level_name, hangup_by, call_status, sentiment,
        sentiment_score, complaint_risk, churn_risk, analysed, degraded)
    SELECT org_id, nextval('portrait_change_seq'), -1, clock_timestamp(),
        user_id, customer_id, task_id, agent_id, call_date, started_at, duration_ms, rounds,
        level_name, hangup_by, call_status, sentiment, sentiment_score, complaint_risk, churn_risk,
        llm_analyzed_at IS NOT NULL, degraded
    FROM went;
    RETURN NULL;
END $$;
CREATE TRIGGER log_calls_deleted AFTER DELETE ON call_record_enriched
    REFERENCING OLD TABLE AS went
    FOR EACH STATEMENT EXECUTE FUNCTION log_calls_deleted();

-- Its plan is made once per session, for however many rows its first statement had: never a nested loop.
CREATE FUNCTION log_calls_updated() RETURNS trigger LANGUAGE plpgsql SET enable_nestloop = off AS $$
BEGIN
    INSERT INTO portrait_change (
        org_id, seq, sign, changed_at, user_id, customer_id, task_id, agent_id, call_date,
        started_at, duration_ms, rounds, level_name, hangup_by, call_status, sentiment,
        sentiment_score, complaint_risk, churn_risk, analysed, degraded)
    SELECT changed.org_id, seq, log.*
    FROM (
        SELECT a.org_id, nextval('portrait_change_seq') AS seq, clock_timestamp() AS at,
               b.user_id AS b_user_id, b.customer_id AS b_customer_id, b.task_id AS b_task_id,
               b.agent_id AS b_agent_id, b.call_date AS b_call_date, b.started_at AS b_started_at,
               b.duration_ms AS b_duration_ms, b.rounds AS b_rounds, b.level_name AS b_level_name,
               b.hangup_by AS b_hangup_by, b.call_status AS b_call_status,
               b.sentiment AS b_sentiment, b.sentiment_score AS b_sentiment_score,
               b.complaint_risk AS b_complaint_risk, b.churn_risk AS b_churn_risk,
               b.llm_analyzed_at IS NOT NULL AS b_analysed, b.degraded AS b_degraded,
               a.user_id AS a_user_id, a.customer_id AS a_customer_id, a.task_id AS a_task_id,
               a.agent_id AS a_agent_id, a.call_date AS a_call_date, a.started_at AS a_started_at,
               a.duration_ms AS a_duration_ms, a.rounds AS a_rounds, a.level_name AS a_level_name,
               a.hangup_by AS a_hangup_by, a.call_status AS a_call_status,
               a.sentiment AS a_sentiment, a.sentiment_score AS a_sentiment_score,
               a.complaint_risk AS a_complaint_risk, a.churn_risk AS a_churn_risk,
               a.llm_analyzed_at IS NOT NULL AS a_analysed, a.degraded AS a_degraded
        FROM before b JOIN after a USING (org_id, callid)
        WHERE (b.user_id, b.customer_id, b.task_id, b.agent_id, b.call_date, b.started_at,
               b.duration_ms, b.rounds, b.level_name, b.hangup_by, b.call_status, b.sentiment,
               b.sentiment_score, b.complaint_risk, b.churn_risk, b.llm_analyzed_at IS NOT NULL,
               b.degraded)
            IS DISTINCT FROM
              (a.user_id, a.customer_id, a.task_id, a.agent_id, a.call_date, a.started_at,
               a.duration_ms, a.rounds, a.level_name, a.hangup_by, a.call_status, a.sentiment,
               a.sentiment_score, a.complaint_risk, a.churn_risk, a.llm_analyzed_at IS NOT NULL,
               a.degraded)
        OFFSET 0) AS changed,
    LATERAL (VALUES
        (-1, at, b_user_id, b_customer_id, b_task_id, b_agent_id, b_call_date, b_started_at, b_duration_ms,
         b_rounds, b_level_name, b_hangup_by, b_call_status, b_sentiment, b_sentiment_score,
         b_complaint_risk, b_churn_risk, b_analysed, b_degraded),
        (1, at, a_user_id, a_customer_id, a_task_id, a_agent_id, a_call_date, a_started_at, a_duration_ms,
         a_rounds, a_level_name, a_hangup_by, a_call_status, a_sentiment, a_sentiment_score,
         a_complaint_risk, a_churn_risk, a_analysed, a_degraded)
    ) AS log;
    RETURN NULL;
END $$;
CREATE TRIGGER log_calls_updated AFTER UPDATE ON call_record_enriched
    REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION log_calls_updated();

-- Whatever there is already was counted by other means.
SET LOCAL ROLE looma_system;
INSERT INTO portrait_counting (org_id, timezone, trusted)
SELECT org_id, timezone, false FROM organisation o
WHERE EXISTS (SELECT FROM call_record_enriched c WHERE c.org_id = o.org_id)
   OR EXISTS (SELECT FROM period_registry r WHERE r.org_id = o.org_id);
RESET ROLE;
