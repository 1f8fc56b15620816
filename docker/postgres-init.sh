#!/bin/bash
# Runs once, when PostgreSQL's volume is new. The platform's role owns its database and makes the
# roles that its transactions step down to; it is no superuser, for whom row policies don't hold.
set -euo pipefail
export PGPASSWORD=${PGPASSWORD:-$(cat /run/secrets/postgres_password)}
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" \
  --set password="$(cat /run/secrets/looma_password)" <<'SQL'
CREATE ROLE looma LOGIN CREATEROLE NOSUPERUSER PASSWORD :'password';
ALTER ROLE looma SET createrole_self_grant = 'set, inherit';
CREATE DATABASE looma OWNER looma;
\connect looma
CREATE EXTENSION vector;
SQL
