#!/bin/bash
# Sets the password that Kibana signs in to Elasticsearch with.
set -euo pipefail
printf 'user = "elastic:%s"\ndata = "{\\"password\\": \\"%s\\"}"\n' \
  "$(cat /run/secrets/elastic_password)" "$(cat /run/secrets/kibana_password)" \
  | curl --config - --silent --show-error --fail --output /dev/null \
    --header 'Content-Type: application/json' \
    http://elasticsearch:9200/_security/user/kibana_system/_password
