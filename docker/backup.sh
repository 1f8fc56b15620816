#!/bin/sh
# Dumps the platform's database into BACKUP_FOLDER and reads the dump back. Only then does it get its name,
# looma-2026-11-29T020000Z.dump: whatever bears such a name is whole. On any failure the status is not
# 0, no such file is left behind, and the time in the metric stays as it was.
#
# Which database: libpq's PGHOST, PGPORT, PGUSER and PGDATABASE, and PGPASSWORD_FILE, the file with
# the password. The user must be a superuser or have BYPASSRLS: row policies bind the platform's own role.
#
#   BACKUP_FOLDER           where dumps are kept
#   BACKUP_KEEP_DAYS        older ones are removed, once a newer one is whole (14)
#   BACKUP_TEXTFILE_FOLDER  where the node exporter looks for *.prom; unset: no metric
set -eu
umask 077

fail() {
  echo "backup: $*" >&2
  exit 1
}

# By writing: what the modes say doesn't hold for every user, nor on every file system.
writable() {
  [ -d "$1" ] && (: > "$1/.looma_backup.$$") 2> /dev/null && rm -f "$1/.looma_backup.$$"
}

folder=${BACKUP_FOLDER:-}
keep=${BACKUP_KEEP_DAYS:-14}
textfiles=${BACKUP_TEXTFILE_FOLDER:-}
[ -n "$folder" ] ||
  fail "BACKUP_FOLDER names no folder for the dumps. Example: BACKUP_FOLDER=/var/backups/looma"
writable "$folder" ||
  fail "BACKUP_FOLDER: $folder is no folder that user $(id -u) can write to. Make it, or give it to this user."
case $keep in
  '' | *[!0-9]* | 0*) fail "BACKUP_KEEP_DAYS is a number of days, 1 or more, not '$keep'. Example: BACKUP_KEEP_DAYS=14" ;;
esac
if [ -n "$textfiles" ] && ! writable "$textfiles"; then
  fail "BACKUP_TEXTFILE_FOLDER: $textfiles is no folder that user $(id -u) can write to. Make it, or unset it."
fi
if [ -n "${PGPASSWORD_FILE:-}" ]; then
  PGPASSWORD=$(cat "$PGPASSWORD_FILE")
  export PGPASSWORD
fi

began=$(date +%s)
name=looma-$(date -u +%Y-%m-%dT%H%M%SZ).dump
part=$folder/.$name.$$.part
metric=$textfiles/.looma_backup.$$
child=
# In the background, so that a signal is heard while it runs.
run() {
  "$@" &
  child=$!
  status=0
  wait "$child" || status=$?
  child=
  return "$status"
}
trap 'rm -f "$part" ${textfiles:+"$metric"}' EXIT
trap '[ -z "$child" ] || kill "$child" 2> /dev/null || true; fail "interrupted"' HUP INT TERM

run pg_dump --format=custom --no-password --file="$part" ||
  fail "pg_dump could not dump ${PGDATABASE:-the database}; the line above says why"

# The table of contents stands at the beginning: only who reads all of it knows that nothing is missing.
contents=$(pg_restore --list "$part") || fail "the dump can't be read back: $folder may be full"
case $contents in
  *" TABLE DATA "*" organisation "*) ;;
  *) fail "${PGDATABASE:-the database} has no organisations: it is not that of the platform" ;;
esac
run pg_restore --file=/dev/null "$part" || fail "the dump is not whole: $folder may be full"

sync "$part"
mv "$part" "$folder/$name"
sync "$folder"

if [ -n "$textfiles" ]; then
  finished=$(date +%s)
  cat > "$metric" << METRICS
# HELP looma_backup_last_success_timestamp_seconds When the newest backup was found whole
# TYPE looma_backup_last_success_timestamp_seconds gauge
looma_backup_last_success_timestamp_seconds $finished
# HELP looma_backup_size_bytes Size of the newest backup
# TYPE looma_backup_size_bytes gauge
looma_backup_size_bytes $(wc -c < "$folder/$name")
# HELP looma_backup_duration_seconds How long the newest backup took
# TYPE looma_backup_duration_seconds gauge
looma_backup_duration_seconds $((finished - began))
METRICS
  chmod 644 "$metric" # the node exporter is another user
  mv "$metric" "$textfiles/looma_backup.prom"
fi

find "$folder" -maxdepth 1 -name 'looma-*.dump' -mtime "+$keep" -exec rm -f {} +
find "$folder" -maxdepth 1 -name '.looma-*.part' -mtime +1 -exec rm -f {} + # of runs that were killed
echo "$folder/$name"
