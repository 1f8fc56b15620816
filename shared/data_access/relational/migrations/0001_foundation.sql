-- Roles, organisations and the functions that row policies rest on.
--
-- The login role owns the tables and is used for migrations only. Every transaction of the
-- platform steps down to looma_app (bound by row policies to app.org_id) or to looma_system
-- (sees all organisations: sign-in look-ups, workers). Both are NOLOGIN.
-- Roles belong to the whole server: another database may be making them at this moment.
DO $$
DECLARE
    app_role text;
    set_right text := CASE WHEN current_setting('server_version_num')::int >= 160000
                           THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH app_role IN ARRAY ARRAY['looma_app', 'looma_system'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = app_role) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', app_role);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
        BEGIN
            IF NOT pg_has_role(current_user, app_role, set_right) THEN
                EXECUTE format('GRANT %I TO %I', app_role, current_user);
            END IF;
        EXCEPTION WHEN unique_violation OR internal_error THEN
            IF NOT pg_has_role(current_user, app_role, set_right) THEN
                RAISE;
            END IF;
        END;
    END LOOP;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO looma_app, looma_system', current_schema());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO looma_app, looma_system', current_database());
END $$;

-- The organisation of the current transaction; null (and so no rows) when none was set.
CREATE FUNCTION current_org() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('app.org_id', true), '')::uuid;

-- Row security, policies and grants of one table that carries org_id.
CREATE PROCEDURE protect_tenant_table(target regclass, app_rights text DEFAULT 'SELECT, INSERT, UPDATE, DELETE')
    LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    -- The sub-select makes the planner evaluate it once per query, not once per row.
    EXECUTE format('CREATE POLICY tenant ON %s TO looma_app USING (org_id = (SELECT current_org())) '
                   'WITH CHECK (org_id = (SELECT current_org()))', target);
    EXECUTE format('CREATE POLICY system ON %s TO looma_system USING (true) WITH CHECK (true)', target);
    EXECUTE format('GRANT %s ON %s TO looma_app, looma_system', app_rights, target);
END $$;

CREATE TABLE organisation (
    org_id      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug        text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    timezone    text NOT NULL DEFAULT 'Asia/Shanghai',
    created_at  timestamptz NOT NULL DEFAULT now()
);
CALL protect_tenant_table('organisation');
