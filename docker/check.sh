#!/bin/sh
# Says what would keep docker-compose.yml from starting, before it is started: ports that are published
# twice, secrets that are missing, empty, a placeholder still, or not for the processes' eyes only.
# Run it as make-secrets.sh was run; words given to it go to Compose (--profile logs). Ends with 1 if
# there is anything to say.
set -eu
model=$(${COMPOSE:-docker compose} "$@" config)
said=$(mktemp)
trap 'rm -f "$said"' EXIT

# Of each published port: its number and protocol, its address, whose it is. Two of them meet at the same
# number, unless each is on an address of its own.
printf '%s\n' "$model" | awk '
  /^[a-z]/ { part = $1 }
  part != "services:" { next }
  /^  [^ ].*:$/ { name = substr($1, 1, length($1) - 1) }
  /^      - / { host = "0.0.0.0" }
  $1 == "host_ip:" { host = $2 }
  $1 == "published:" { gsub(/"/, "", $2); port = $2 }
  $1 == "protocol:" && port != "" { print port, $2, host, name; port = "" }
' | awk '
  function everywhere(address) { return address == "0.0.0.0" || address == "::" }
  {
    for (i = 1; i < NR; i++)
      if ($1 == number[i] && $2 == protocol[i] && ($3 == host[i] || everywhere($3) || everywhere(host[i])))
        printf "port %s: published by %s and by %s. Set %s_PUBLISHED or %s_PUBLISHED in .env to another.\n",
          $1, name[i], $4, toupper(name[i]), toupper($4)
    number[NR] = $1; protocol[NR] = $2; host[NR] = $3; name[NR] = $4
  }
' >> "$said"

# For our processes, which refuse what others may read; the servers read theirs as users of their own.
ours=" internal_token_secret data_key admin_password database_url redis_url graph_url vector_url search_url "
uid=$(printf '%s\n' "$model" | awk '/^  gateway:$/ { ours = 1 } ours && $1 == "user:" { gsub(/"/, "", $2); sub(/:.*/, "", $2); print $2; exit }')
again='Run docker/make-secrets.sh'

tell() { echo "secret $1: $2" >> "$said"; }

look() { # NAME FILE
  if [ ! -e "$2" ]; then
    tell "$1" "$2 is missing. $again"
  elif [ ! -f "$2" ]; then
    tell "$1" "$2 is no file. Delete it. $again"
  elif [ ! -s "$2" ]; then
    tell "$1" "$2 is empty. $again"
  elif [ ! -r "$2" ]; then
    tell "$1" "$2 can't be read by you. Run this as its owner, or with sudo"
  elif grep -qixE '<.*>|.*(change|replace)[-_ ]?(me|this).*|placeholder|secret|password|todo|x+|\*+' "$2" \
    || grep -qiE '://[^/@]*:(<[^@]*>|[^/@]*(change|replace)[-_ ]?(me|this)[^/@]*|placeholder|secret|password|todo|x+|\*+)@' "$2"; then
    tell "$1" "$2 still holds a placeholder. Delete it. $again"
  elif [ "${ours#* "$1" }" != "$ours" ]; then
    # shellcheck disable=SC2012 # mode and owner; the name is not read
    set -- "$1" "$2" "$(ls -lnL "$2" | awk '{ print $1, $3 }')"
    case $3 in
      ???????---*) ;;
      *) tell "$1" "$2 is open to all users. chmod 400 $2" ;;
    esac
    if [ "${3#* }" != "$uid" ]; then
      tell "$1" "$2 belongs to user ${3#* }, and the processes run as $uid. chown $uid $2, or LOOMA_UID=${3#* } in .env"
    fi
  fi
}

folder=
secrets=$(printf '%s\n' "$model" | awk '
  /^[a-z]/ { part = $1 }
  part == "secrets:" && /^  [^ ].*:$/ { name = substr($1, 1, length($1) - 1) }
  part == "secrets:" && $1 == "file:" { sub(/^ *file: /, ""); print name, $0 }
')
while read -r name file; do
  if [ "$folder" != "${file%/*}" ]; then
    folder=${file%/*}
    if [ -d "$folder" ] && [ ! -x "$folder" ]; then
      echo "secrets: you may not look into $folder. Run this as its owner, or with sudo" >> "$said"
      break
    fi
    # shellcheck disable=SC2012 # the mode
    case $(ls -ldL "$folder" 2>/dev/null) in
      d???------* | '') ;;
      *) echo "secrets: others may enter $folder. chmod 700 $folder" >> "$said" ;;
    esac
  fi
  look "$name" "$file"
done <<EOF
$secrets
EOF

if [ -s "$said" ]; then
  cat "$said" >&2
  exit 1
fi
echo "nothing stands in the way"
