-- What every attempt at a model costs, and the budgets that bound it.
--
-- An attempt belongs to the day of its reservation, local to the organisation by this server's
-- clock, and with it to one window of every budget of its subject, its purpose and its organisation.
-- The law: reserved and spent of a window are the sums over the attempts that belong to it.
--
-- Plans are kept from when the tables were empty, and a look-up of every row by its key must stay one
-- when they are not: hence the loops, and OFFSET 0, which keeps a join from being turned into a scan
-- of all that an organisation has.
--
-- Whoever reserves or settles holds the organisation's ledger lock shared, whoever changes its budgets
-- holds it alone; rows are locked in the order ledger, windows, each by its key.
CREATE TABLE cost_ledgers (
    org_id            uuid NOT NULL,
    attempt_id        uuid NOT NULL,
    request_id        uuid NOT NULL,
    parent            uuid,                    -- the attempt before it of the same request
    subject_kind      text NOT NULL,           -- user / key / service
    subject           text NOT NULL,
    purpose           text NOT NULL,
    provider          text NOT NULL,
    model             text NOT NULL,
    price_version     text NOT NULL,
    prompt_version    text NOT NULL,           -- '' for requests that name none
    input_tokens      bigint NOT NULL,         -- until it is settled these are the worst case
    output_tokens     bigint NOT NULL,
    cached_tokens     bigint NOT NULL DEFAULT 0,   -- of the input
    reasoning_tokens  bigint NOT NULL DEFAULT 0,   -- of the output
    reserved          numeric(18, 8) NOT NULL CHECK (reserved >= 0),
    cost              numeric(18, 8) CHECK (cost >= 0),
    latency_ms        integer,
    first_token_ms    integer,
    outcome           text,
    source            text,                    -- where the tokens come from
    day               date NOT NULL,
    started_at        timestamptz NOT NULL,
    lease_until       timestamptz NOT NULL,
    settled_at        timestamptz,             -- null: reserved
    PRIMARY KEY (org_id, attempt_id),
    CHECK ((settled_at IS NULL) = (cost IS NULL)),
    CHECK ((settled_at IS NULL) = (outcome IS NULL))
);
-- The day first: beside an index that begins with org_id a look-up by the key may be planned as a
-- scan of all that the organisation has, while the table is small or its statistics are old.
CREATE INDEX cost_ledgers_by_day ON cost_ledgers (day, org_id);
CREATE INDEX cost_ledgers_reserved ON cost_ledgers (lease_until) WHERE settled_at IS NULL;
CALL protect_tenant_table('cost_ledgers');

CREATE TABLE llm_budget (
    org_id        uuid NOT NULL,
    budget_id     uuid NOT NULL DEFAULT gen_random_uuid(),
    subject_kind  text NOT NULL CHECK (subject_kind IN ('organisation', 'key', 'user', 'purpose')),
    subject       text NOT NULL CHECK ((subject = '') = (subject_kind = 'organisation')),
    period        text NOT NULL CHECK (period IN ('day', 'week', 'month', 'total')),
    amount        numeric(18, 8) NOT NULL CHECK (amount >= 0),
    hard          boolean NOT NULL,
    -- Windows that begin later start empty: every attempt in them found the budget there.
    since         date NOT NULL,
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, budget_id),
    UNIQUE (org_id, subject_kind, subject, period)
);
CALL protect_tenant_table('llm_budget');

CREATE TABLE llm_budget_window (
    org_id        uuid NOT NULL,
    budget_id     uuid NOT NULL,
    first_day     date NOT NULL,
    reserved      numeric(18, 8) NOT NULL DEFAULT 0,
    spent         numeric(18, 8) NOT NULL DEFAULT 0,
    announced     smallint NOT NULL DEFAULT 0,  -- the highest threshold told, in percent
    PRIMARY KEY (org_id, budget_id, first_day),
    FOREIGN KEY (org_id, budget_id) REFERENCES llm_budget ON DELETE CASCADE
) WITH (fillfactor = 50);  -- room for the next version of a row that changes with every attempt
CALL protect_tenant_table('llm_budget_window');


-- Windows.

-- The first day of the window that a day lies in. 0001-01-01 is a Monday.
CREATE FUNCTION llm_window_start(period text, day date) RETURNS date
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE period
        WHEN 'day' THEN day
        WHEN 'week' THEN day - (day - date '0001-01-01') % 7
        WHEN 'month' THEN date_trunc('month', day::timestamp)::date
        WHEN 'total' THEN date '0001-01-01'
    END;

-- The first day after a window; null for one that never ends.
CREATE FUNCTION llm_window_end(period text, first_day date) RETURNS date
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE period
        WHEN 'day' THEN first_day + 1
        WHEN 'week' THEN first_day + 7
        WHEN 'month' THEN (first_day::timestamp + interval '1 month')::date
    END;

-- The day it is in an organisation; null where there is no such organisation.
CREATE FUNCTION llm_today(organisation uuid) RETURNS date
    LANGUAGE sql VOLATILE
    RETURN (SELECT (clock_timestamp() AT TIME ZONE o.timezone)::date
            FROM organisation o WHERE o.org_id = organisation);

-- When a window of an organisation's budget is followed by the next one; null: never.
CREATE FUNCTION llm_renews_at(organisation uuid, period text, first_day date) RETURNS timestamptz
    LANGUAGE sql STABLE
    RETURN (SELECT llm_window_end(period, first_day)::timestamp AT TIME ZONE o.timezone
            FROM organisation o WHERE o.org_id = organisation);

-- Of the advisory lock: shared to reserve and settle, alone to change budgets.
CREATE FUNCTION llm_ledger_key(organisation uuid) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended('llm_ledger:' || organisation::text, 0);

-- An organisation's attempts from one day to before another, day by day; all without the other.
CREATE FUNCTION llm_attempts(organisation uuid, from_day date, to_day date)
    RETURNS SETOF cost_ledgers
    LANGUAGE sql STABLE AS $$
    SELECT l.* FROM generate_series(0, to_day - from_day - 1) AS number
    CROSS JOIN LATERAL (SELECT * FROM cost_ledgers
                        WHERE org_id = organisation AND day = from_day + number OFFSET 0) AS l
    UNION ALL
    SELECT * FROM cost_ledgers
    WHERE to_day IS NULL AND org_id = organisation AND day >= from_day
$$;

-- What the attempts of one window come to, by the ledger.
CREATE FUNCTION llm_counted(organisation uuid, kind text, of_subject text, from_day date, to_day date)
    RETURNS TABLE (reserved numeric, spent numeric)
    LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(l.reserved) FILTER (WHERE l.settled_at IS NULL), 0), coalesce(sum(l.cost), 0)
    FROM llm_attempts(organisation, from_day, to_day) AS l
    WHERE CASE kind WHEN 'organisation' THEN true
                    WHEN 'purpose' THEN l.purpose = of_subject
                    ELSE l.subject_kind = kind AND l.subject = of_subject END
$$;

-- Make the windows of these budgets that are missing, in the order of their keys. Whoever is the
-- second to make one waits for the first at its key, so that it is counted once and completely.
CREATE PROCEDURE llm_open_windows(organisation uuid, budgets uuid[], first_days date[])
    LANGUAGE plpgsql AS $$
DECLARE
    opened record;
BEGIN
    FOR opened IN
        SELECT b.* , wanted.first_day
        FROM unnest(budgets, first_days) AS wanted (budget_id, first_day)
        JOIN llm_budget b ON b.org_id = organisation AND b.budget_id = wanted.budget_id
        WHERE NOT EXISTS (SELECT FROM llm_budget_window w
                          WHERE w.org_id = organisation AND w.budget_id = wanted.budget_id
                            AND w.first_day = wanted.first_day)
        ORDER BY wanted.budget_id, wanted.first_day
    LOOP
        INSERT INTO llm_budget_window (org_id, budget_id, first_day)
        VALUES (organisation, opened.budget_id, opened.first_day) ON CONFLICT DO NOTHING;
        IF FOUND AND opened.first_day <= opened.since THEN
            UPDATE llm_budget_window w SET reserved = counted.reserved, spent = counted.spent
            FROM llm_counted(organisation, opened.subject_kind, opened.subject, opened.first_day,
                             llm_window_end(opened.period, opened.first_day)) AS counted
            WHERE w.org_id = organisation AND w.budget_id = opened.budget_id
              AND w.first_day = opened.first_day;
        END IF;
    END LOOP;
END $$;


-- Reserving.

-- Decide a batch of one organisation's attempts in their order and reserve what is granted.
--
-- Returns a row for each that is not: 'refused' where a hard budget's window can't hold it whatever
-- becomes of what others have reserved, 'waiting' where it could. An attempt that waits keeps later
-- ones of the batch from the money that it waits for. With `unconditional` all are granted: they
-- have happened. An attempt_id that is there already is a unique violation.
CREATE FUNCTION llm_reserve(
    organisation uuid, attempt_ids uuid[], request_ids uuid[], parents uuid[], kinds text[],
    subjects text[], purposes text[], providers text[], models text[], price_versions text[],
    prompt_versions text[], inputs bigint[], outputs bigint[], costs numeric[],
    leases double precision[], unconditional boolean DEFAULT false)
    RETURNS TABLE (place integer, verdict text, budget_id uuid)
    LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    today date;
    now_at timestamptz;
    ids uuid[];             -- of the budgets that any of the attempts belongs to
    first_days date[];      -- of their windows
    budget_kinds text[];
    budget_subjects text[];
    hard boolean[];
    amounts numeric[];
    is_missing boolean;     -- a window is
    spent numeric[];
    reserved numeric[];
    more numeric[];         -- what this batch reserves
    awaited boolean[];      -- an attempt of this batch waits for it
    granted boolean[];
    one record;
    slot integer;
    full_slot integer;      -- of a budget that can't hold it, the one with the least left
    short_slot integer;     -- of one that can't hold it now
BEGIN
    PERFORM pg_advisory_xact_lock_shared(llm_ledger_key(organisation));
    now_at := clock_timestamp();
    SELECT (now_at AT TIME ZONE o.timezone)::date INTO today
    FROM organisation o WHERE o.org_id = organisation;
    granted := array_fill(true, ARRAY[cardinality(attempt_ids)]);

    SELECT array_agg(b.budget_id), array_agg(b.first_day), array_agg(b.subject_kind),
           array_agg(b.subject), array_agg(b.hard AND NOT unconditional), array_agg(b.amount),
           bool_or(w.budget_id IS NULL), array_agg(0::numeric), array_agg(false)
    INTO ids, first_days, budget_kinds, budget_subjects, hard, amounts, is_missing, more, awaited
    FROM (SELECT b.*, llm_window_start(b.period, today) AS first_day
          FROM (SELECT * FROM unnest(kinds, subjects) UNION SELECT 'purpose', unnest(purposes)
                UNION SELECT 'organisation', '') AS asked (kind, subject)
          CROSS JOIN LATERAL (
              SELECT * FROM llm_budget b
              WHERE b.org_id = organisation AND b.subject_kind = asked.kind
                AND b.subject = asked.subject OFFSET 0) AS b) AS b
    LEFT JOIN LATERAL (
        SELECT w.budget_id FROM llm_budget_window w
        WHERE w.org_id = organisation AND w.budget_id = b.budget_id
          AND w.first_day = b.first_day OFFSET 0) AS w ON true;

    IF ids IS NOT NULL THEN
        IF is_missing THEN
            CALL llm_open_windows(organisation, ids, first_days);
        END IF;
        SELECT array_agg(w.spent ORDER BY w.slot), array_agg(w.reserved ORDER BY w.slot)
        INTO spent, reserved
        FROM (SELECT w.spent, w.reserved, asked.slot
              FROM (SELECT * FROM unnest(ids, first_days) WITH ORDINALITY
                        AS asked (budget_id, first_day, slot)
                    ORDER BY budget_id) AS asked
              CROSS JOIN LATERAL (
                  SELECT w.spent, w.reserved FROM llm_budget_window w
                  WHERE w.org_id = organisation AND w.budget_id = asked.budget_id
                    AND w.first_day = asked.first_day OFFSET 0 FOR UPDATE) AS w) AS w;

        FOR one IN
            SELECT a.place, a.cost, array_agg(s.slot::integer) AS slots
            FROM unnest(costs, kinds, subjects, purposes) WITH ORDINALITY
                 AS a (cost, kind, subject, purpose, place)
            CROSS JOIN LATERAL (VALUES (a.kind, a.subject), ('purpose', a.purpose),
                                       ('organisation', '')) AS asked (kind, subject)
            JOIN unnest(budget_kinds, budget_subjects) WITH ORDINALITY AS s (kind, subject, slot)
                 ON s.kind = asked.kind AND s.subject = asked.subject
            GROUP BY a.place, a.cost ORDER BY a.place
        LOOP
            full_slot := NULL;
            short_slot := NULL;
            FOREACH slot IN ARRAY one.slots LOOP
                CONTINUE WHEN NOT hard[slot] OR one.cost = 0;
                IF amounts[slot] - spent[slot] < one.cost THEN
                    IF full_slot IS NULL OR amounts[slot] - spent[slot]
                                            < amounts[full_slot] - spent[full_slot] THEN
                        full_slot := slot;
                    END IF;
                ELSIF awaited[slot]
                   OR amounts[slot] - spent[slot] - reserved[slot] - more[slot] < one.cost THEN
                    short_slot := slot;
                END IF;
            END LOOP;
            IF full_slot IS NOT NULL OR short_slot IS NOT NULL THEN
                granted[one.place] := false;
                place := one.place;
                verdict := CASE WHEN full_slot IS NULL THEN 'waiting' ELSE 'refused' END;
                budget_id := ids[coalesce(full_slot, short_slot)];
                RETURN NEXT;
            END IF;
            FOREACH slot IN ARRAY one.slots LOOP
                IF granted[one.place] THEN
                    more[slot] := more[slot] + one.cost;
                ELSIF full_slot IS NULL THEN
                    awaited[slot] := awaited[slot] OR hard[slot] AND amounts[slot] - spent[slot]
                                     - reserved[slot] - more[slot] < one.cost;
                END IF;
            END LOOP;
        END LOOP;

        UPDATE llm_budget_window w SET reserved = w.reserved + added.amount
        FROM unnest(ids, first_days, more) AS added (budget_id, first_day, amount)
        WHERE w.org_id = organisation AND w.budget_id = added.budget_id
          AND w.first_day = added.first_day AND added.amount > 0;
    END IF;

    INSERT INTO cost_ledgers (org_id, attempt_id, request_id, parent, subject_kind, subject,
        purpose, provider, model, price_version, prompt_version, input_tokens, output_tokens,
        reserved, day, started_at, lease_until)
    SELECT organisation, a.attempt_id, a.request_id, a.parent, a.kind, a.subject, a.purpose,
        a.provider, a.model, a.price_version, a.prompt_version, a.input, a.output, a.cost, today,
        now_at, now_at + a.lease * interval '1 second'
    FROM unnest(attempt_ids, request_ids, parents, kinds, subjects, purposes, providers, models,
                price_versions, prompt_versions, inputs, outputs, costs, leases, granted)
         AS a (attempt_id, request_id, parent, kind, subject, purpose, provider, model,
               price_version, prompt_version, input, output, cost, lease, granted)
    WHERE a.granted;
END $$;


-- Settling.

-- Settle a batch of one organisation's attempts: the first settlement of each counts, and one that
-- comes after the outcome 'unknown'. Windows change by what is no longer reserved and what is spent.
--
-- Returns a row for each attempt that was never reserved, and one for each threshold of a window
-- that was crossed by it, as the event that tells of it.
CREATE FUNCTION llm_settle(
    organisation uuid, attempt_ids uuid[], inputs bigint[], outputs bigint[], cached bigint[],
    reasoning bigint[], costs numeric[], latencies integer[], first_tokens integer[],
    outcomes text[], sources text[])
    RETURNS TABLE (absent uuid, crossing jsonb)
    LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    one record;
    before cost_ledgers;
    settled integer := 0;
    kinds text[] := '{}';        -- of the attempts that are settled, as the ledger has them
    subjects text[] := '{}';
    purposes text[] := '{}';
    days date[] := '{}';
    released numeric[] := '{}';
    charged numeric[] := '{}';
    touched record;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(llm_ledger_key(organisation));
    FOR one IN
        SELECT DISTINCT ON (s.attempt_id) s.*
        FROM unnest(attempt_ids, inputs, outputs, cached, reasoning, costs, latencies,
                    first_tokens, outcomes, sources) WITH ORDINALITY
             AS s (attempt_id, input, output, cached, reasoning, cost, latency, first_token,
                   outcome, source, place)
        ORDER BY s.attempt_id, s.place
    LOOP
        SELECT * INTO before FROM cost_ledgers l
        WHERE l.org_id = organisation AND l.attempt_id = one.attempt_id FOR UPDATE;
        IF NOT FOUND THEN
            absent := one.attempt_id;
            RETURN NEXT;
        END IF;
        CONTINUE WHEN NOT FOUND OR before.settled_at IS NOT NULL AND before.outcome <> 'unknown';
        UPDATE cost_ledgers l
        SET input_tokens = one.input, output_tokens = one.output, cached_tokens = one.cached,
            reasoning_tokens = one.reasoning, cost = one.cost, latency_ms = one.latency,
            first_token_ms = one.first_token, outcome = one.outcome, source = one.source,
            settled_at = clock_timestamp()
        WHERE l.org_id = organisation AND l.attempt_id = one.attempt_id;
        settled := settled + 1;
        kinds[settled] := before.subject_kind;
        subjects[settled] := before.subject;
        purposes[settled] := before.purpose;
        days[settled] := before.day;
        released[settled] := CASE WHEN before.settled_at IS NULL THEN before.reserved ELSE 0 END;
        charged[settled] := one.cost - coalesce(before.cost, 0);
    END LOOP;

    FOR touched IN
        SELECT w.budget_id, w.first_day, change.released, change.charged
        FROM (SELECT b.budget_id, llm_window_start(b.period, s.day) AS first_day,
                     sum(s.released) AS released, sum(s.charged) AS charged
              FROM (SELECT kind, subject, purpose, day, sum(s.released) AS released,
                           sum(s.charged) AS charged
                    FROM unnest(kinds, subjects, purposes, days, released, charged)
                         AS s (kind, subject, purpose, day, released, charged)
                    GROUP BY kind, subject, purpose, day) AS s
              CROSS JOIN LATERAL (VALUES (s.kind, s.subject), ('purpose', s.purpose),
                                         ('organisation', '')) AS asked (kind, subject)
              CROSS JOIN LATERAL (
                  SELECT b.budget_id, b.period FROM llm_budget b
                  WHERE b.org_id = organisation AND b.subject_kind = asked.kind
                    AND b.subject = asked.subject OFFSET 0) AS b
              GROUP BY 1, 2 ORDER BY 1, 2) AS change
        CROSS JOIN LATERAL (
            SELECT w.budget_id, w.first_day FROM llm_budget_window w
            WHERE w.org_id = organisation AND w.budget_id = change.budget_id
              AND w.first_day = change.first_day OFFSET 0 FOR UPDATE) AS w
    LOOP
        UPDATE llm_budget_window w
        SET reserved = w.reserved - touched.released, spent = w.spent + touched.charged
        WHERE w.org_id = organisation AND w.budget_id = touched.budget_id
          AND w.first_day = touched.first_day;
        absent := NULL;
        FOR crossing IN
            SELECT * FROM llm_cross(organisation, touched.budget_id, touched.first_day)
        LOOP
            RETURN NEXT;
        END LOOP;
    END LOOP;
END $$;

-- Note which of the thresholds 50, 80 and 100 % a window has reached and return those that are new.
-- A budget of nothing is reached by the first spending.
CREATE FUNCTION llm_cross(organisation uuid, of_budget uuid, of_day date) RETURNS SETOF jsonb
    LANGUAGE plpgsql AS $$
DECLARE
    budget llm_budget;
    of_window llm_budget_window;
    threshold smallint;
BEGIN
    SELECT * INTO budget FROM llm_budget b
    WHERE b.org_id = organisation AND b.budget_id = of_budget;
    SELECT * INTO of_window FROM llm_budget_window w
    WHERE w.org_id = organisation AND w.budget_id = of_budget AND w.first_day = of_day;
    FOREACH threshold IN ARRAY ARRAY[50, 80, 100] LOOP
        CONTINUE WHEN threshold <= of_window.announced OR of_window.spent <= 0
                   OR of_window.spent * 100 < budget.amount * threshold;
        UPDATE llm_budget_window w SET announced = threshold
        WHERE w.org_id = organisation AND w.budget_id = of_budget AND w.first_day = of_day;
        RETURN NEXT jsonb_build_object(
            'budget_id', of_budget, 'subject_kind', budget.subject_kind,
            'subject', budget.subject, 'period', budget.period, 'hard', budget.hard,
            'threshold', threshold, 'amount', budget.amount::text, 'spent', of_window.spent::text,
            'first_day', of_day, 'renews_at', llm_renews_at(organisation, budget.period, of_day));
    END LOOP;
END $$;

-- Settle at their estimate at most `at_most` attempts whose lease is over. Returns as llm_settle
-- does, and a row for each attempt, named as `swept`. Those that somebody settles right now are
-- left to them.
CREATE FUNCTION llm_sweep(organisation uuid, at_most integer)
    RETURNS TABLE (swept uuid, crossing jsonb)
    LANGUAGE plpgsql AS $$
DECLARE
    ids uuid[];
BEGIN
    PERFORM pg_advisory_xact_lock_shared(llm_ledger_key(organisation));
    SELECT array_agg(l.attempt_id) INTO ids FROM (
        SELECT attempt_id FROM cost_ledgers
        WHERE org_id = organisation AND settled_at IS NULL AND lease_until < clock_timestamp()
        ORDER BY attempt_id LIMIT at_most FOR UPDATE SKIP LOCKED) AS l;
    IF ids IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT NULL::uuid, s.crossing FROM (
        SELECT array_agg(attempt_id) AS attempt_ids, array_agg(input_tokens) AS inputs,
               array_agg(output_tokens) AS outputs, array_agg(0::bigint) AS none,
               array_agg(reserved) AS costs,
               array_agg((extract(epoch FROM lease_until - started_at) * 1000)::integer) AS latencies,
               array_agg(NULL::integer) AS first_tokens, array_agg('unknown'::text) AS outcomes,
               array_agg('estimate'::text) AS sources
        FROM unnest(ids) AS asked
        JOIN cost_ledgers ON org_id = organisation AND attempt_id = asked) AS l,
    llm_settle(organisation, l.attempt_ids, l.inputs, l.outputs, l.none, l.none, l.costs,
               l.latencies, l.first_tokens, l.outcomes, l.sources) AS s;
    RETURN QUERY SELECT unnest(ids), NULL::jsonb;
END $$;


-- Budgets.

-- Set the budget of a subject and period, new or changed, and count what its window holds already.
-- Thresholds that the new amount has not reached can be crossed again; returns those that it has.
CREATE FUNCTION llm_set_budget(
    organisation uuid, kind text, of_subject text, of_period text, new_amount numeric,
    is_hard boolean)
    RETURNS SETOF jsonb
    LANGUAGE plpgsql AS $$
DECLARE
    budget llm_budget;
    amount_before numeric;
    today date;
    this_window date;
BEGIN
    PERFORM pg_advisory_xact_lock(llm_ledger_key(organisation));
    today := llm_today(organisation);
    this_window := llm_window_start(of_period, today);
    SELECT b.amount INTO amount_before FROM llm_budget b
    WHERE b.org_id = organisation AND b.subject_kind = kind AND b.subject = of_subject
      AND b.period = of_period;
    INSERT INTO llm_budget AS b (org_id, subject_kind, subject, period, amount, hard, since)
    SELECT organisation, kind, of_subject, of_period, new_amount, is_hard,
           greatest(today, max(l.day)) FROM cost_ledgers l WHERE l.org_id = organisation
    ON CONFLICT (org_id, subject_kind, subject, period) DO UPDATE
        SET amount = excluded.amount, hard = excluded.hard, updated_at = now()
    RETURNING b.* INTO budget;
    CALL llm_open_windows(organisation, ARRAY[budget.budget_id], ARRAY[this_window]);
    UPDATE llm_budget_window w
    SET announced = CASE WHEN w.spent * 100 >= new_amount * w.announced THEN w.announced
                         WHEN w.spent * 100 >= new_amount * 80 THEN least(w.announced, 80)
                         WHEN w.spent * 100 >= new_amount * 50 THEN least(w.announced, 50)
                         ELSE 0 END
    WHERE w.org_id = organisation AND w.budget_id = budget.budget_id AND w.first_day = this_window
      AND new_amount <> amount_before;
    RETURN QUERY SELECT llm_cross(organisation, budget.budget_id, this_window);
END $$;
