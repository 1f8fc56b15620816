#!/bin/sh
# Restores a dump of backup.sh into the database that PGDATABASE names, which must be empty: all of it,
# or nothing. The owner of the tables must exist (with compose: looma); the two roles that
# transactions step down to are made.
#
#   sh docker/restore.sh looma-2026-11-29T020000Z.dump
#
# Which database: as for backup.sh. The user must be a superuser.
set -eu

fail() {
  echo "restore: $*" >&2
  exit 1
}

[ $# = 1 ] || fail "name one dump. Example: sh docker/restore.sh /var/backups/looma/looma-2026-11-29T020000Z.dump"
[ -r "$1" ] || fail "$1 can't be read"
[ -n "${PGDATABASE:-}" ] || fail "PGDATABASE names no database. Example: PGDATABASE=looma"
if [ -n "${PGPASSWORD_FILE:-}" ]; then
  PGPASSWORD=$(cat "$PGPASSWORD_FILE")
  export PGPASSWORD
fi

ask() {
  psql --no-psqlrc --no-password --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 "$@"
}

tables=$(ask --command "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
[ "$tables" = 0 ] ||
  fail "$PGDATABASE has $tables tables already: restore into a new database, and change the services over to it"

ask << 'SQL'
DO $$
DECLARE
    app_role text;
    owner text := (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database());
BEGIN
    FOREACH app_role IN ARRAY ARRAY['looma_app', 'looma_system'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = app_role) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', app_role);
        END IF;
        IF NOT pg_has_role(owner, app_role, 'MEMBER') THEN
            EXECUTE format('GRANT %I TO %I', app_role, owner);
        END IF;
    END LOOP;
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO looma_app, looma_system', current_database());
END $$;
SQL
pg_restore --no-password --single-transaction --exit-on-error --dbname="$PGDATABASE" "$1" ||
  fail "nothing was restored; the line above says why"
ask --command ANALYZE # without statistics the first queries are slow
echo "$PGDATABASE restored from $1"
