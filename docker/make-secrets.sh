#!/bin/sh
# Makes the secrets that docker-compose.yml asks for, in LOOMA_SECRETS (default: secrets). What is
# there already stays as it is, so it can be run again after an update.
set -eu
umask 077
folder=${LOOMA_SECRETS:-secrets}
mkdir -p "$folder"
chmod 700 "$folder" # whatever the modes within, nobody else on this machine comes near
cd "$folder"

fresh() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# keep NAME MODE: what comes in becomes the file NAME, unless there is one.
keep() {
  if [ -s "$1" ]; then
    cat > /dev/null
    return
  fi
  cat > ".$1.new"
  chmod "$2" ".$1.new"
  mv ".$1.new" "$1"
  echo "made $folder/$1"
}

# For the servers. Each reads its own as a user that this script can't know, so their mode lets them;
# the folder keeps everybody else out.
for name in postgres_password looma_password redis_password weaviate_key elastic_password \
  grafana_password mysql_password mongodb_password kibana_password; do
  fresh 24 | keep "$name" 444
done
echo "neo4j/$(fresh 24)" | keep neo4j_auth 444

# For our processes, which refuse what others may read.
graph=$(cut -d/ -f2 neo4j_auth)
fresh 32 | keep internal_token_secret 400
fresh 32 | keep data_key 400
fresh 12 | keep admin_password 400
echo "postgresql://looma:$(cat looma_password)@postgres:5432/looma" | keep database_url 400
echo "redis://:$(cat redis_password)@redis:6379/0" | keep redis_url 400
echo "bolt://neo4j:$graph@neo4j:7687/neo4j" | keep graph_url 400
echo "http://looma:$(cat weaviate_key)@weaviate:8080" | keep vector_url 400
echo "http://elastic:$(cat elastic_password)@elasticsearch:9200" | keep search_url 400

ours="internal_token_secret data_key admin_password database_url redis_url graph_url vector_url search_url"
if [ "$(id -u)" = 0 ]; then
  # shellcheck disable=SC2086 # names without spaces
  chown "${LOOMA_UID:-10001}:${LOOMA_GID:-10001}" $ours
elif [ "$(id -u):$(id -g)" != "${LOOMA_UID:-10001}:${LOOMA_GID:-10001}" ]; then
  echo "Only you can read them: let the processes run as you, by these lines in .env:"
  echo "LOOMA_UID=$(id -u)"
  echo "LOOMA_GID=$(id -g)"
fi
