-- What answers about portraits are kept by: a mark that every change of the portraits renews, in its
-- own transaction, whoever makes it. Subjects share 64 marks of a dimension and period type, so that a
-- change ends the answers about few and an organisation has few rows. A mark is random: it never comes
-- back, not with a restored database either. Who counts or computes holds a lock of the organisation, so
-- marks make nobody wait who doesn't already.
CREATE TABLE portrait_mark (
    org_id       uuid NOT NULL,
    dimension    text NOT NULL,
    period_type  text NOT NULL,
    slot         smallint NOT NULL CHECK (slot BETWEEN 0 AND 63),
    mark         uuid NOT NULL DEFAULT gen_random_uuid(),
    PRIMARY KEY (org_id, dimension, period_type, slot)
) WITH (fillfactor = 50);
CALL protect_tenant_table('portrait_mark');

CREATE FUNCTION portrait_slot(subject text) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (hashtext(subject) & 63)::smallint;

-- Whoever changes very many portraits sets looma.marks to 'later' in its transaction, and renews the marks
-- last (computing/marks.py): then others wait for them only as long as a commit takes.
-- Arguments: the dimension, and the column of its subjects ('' where there is one per organisation).
CREATE FUNCTION renew_portrait_marks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('looma.marks', true) = 'later' THEN
        RETURN NULL;
    END IF;
    EXECUTE format(
        'INSERT INTO portrait_mark AS m (org_id, dimension, period_type, slot)
         SELECT DISTINCT org_id, %L, period_type, portrait_slot(%s) FROM touched ORDER BY 1, 3, 4
         ON CONFLICT (org_id, dimension, period_type, slot) DO UPDATE SET mark = gen_random_uuid()',
        TG_ARGV[0], CASE TG_ARGV[1] WHEN '' THEN quote_literal('') ELSE quote_ident(TG_ARGV[1]) END);
    RETURN NULL;
END $$;

-- Of every table of portraits: a test names those without.
CREATE PROCEDURE mark_portraits(target regclass, dimension text, subject text DEFAULT '')
    LANGUAGE plpgsql AS $$
DECLARE
    event text;
BEGIN
    FOREACH event IN ARRAY ARRAY['insert', 'update', 'delete'] LOOP
        EXECUTE format(
            'CREATE TRIGGER %I AFTER %s ON %s REFERENCING %s TABLE AS touched
             FOR EACH STATEMENT EXECUTE FUNCTION renew_portrait_marks(%L, %L)',
            'marks_after_' || event, event, target,
            CASE event WHEN 'delete' THEN 'OLD' ELSE 'NEW' END, dimension, subject);
    END LOOP;
END $$;

CALL mark_portraits('user_portrait_snapshot', 'user', 'user_id');
CALL mark_portraits('customer_portrait_snapshot', 'customer', 'customer_id');
CALL mark_portraits('task_portrait_snapshot', 'task', 'task_id');
CALL mark_portraits('agent_portrait_snapshot', 'agent', 'agent_id');
CALL mark_portraits('period_summary', 'organisation');

-- What a reading begins with, in one round trip: the mark of the subject's portraits (null: none is
-- known yet), under whom a customer's calls are now (null: there are none; others are themselves), and
-- the first and last period in which the organisation has calls.
CREATE FUNCTION portrait_reading(org uuid, of_dimension text, subject text, of_type text)
    RETURNS TABLE (mark uuid, standing text, oldest text, newest text)
    LANGUAGE plpgsql AS $$
BEGIN
    standing := subject;
    IF of_dimension = 'customer' THEN
        standing := coalesce(
            (SELECT survivor FROM customer_alias WHERE org_id = org AND customer_id = subject), subject);
        IF NOT EXISTS (SELECT FROM call_record_enriched WHERE org_id = org AND customer_id = standing) THEN
            standing := NULL;
        END IF;
    END IF;
    SELECT m.mark INTO mark FROM portrait_mark m
    WHERE m.org_id = org AND m.dimension = of_dimension AND m.period_type = of_type
        AND m.slot = portrait_slot(standing);
    SELECT min(period_key), max(period_key) INTO oldest, newest FROM period_summary
    WHERE org_id = org AND period_type = of_type;
    RETURN NEXT;
END $$;
