#!/bin/sh
# Prints the newest webhooks every two seconds, newest first: watch.sh [BASE [TOKEN [ROUNDS]]]
# BASE and TOKEN may come from variables of these names. Without ROUNDS it goes on until Ctrl-C.
set -eu
base=${1:-${BASE:-http://localhost:8000}}
token=${2:-${TOKEN:?say an API token}}
rounds=${3:-0}

while :; do
    date '+-- %H:%M:%S'
    # The token goes in by standard input, so that it is in no list of processes.
    printf 'header = "Authorization: Bearer %s"\n' "$token" |
        curl --config - --silent --show-error --fail-with-body "$base/api/v1/webhooks?limit=5" |
        sed -e 's/},{/},\n{/g'
    echo
    rounds=$((rounds - 1))
    [ "$rounds" -ne 0 ] || exit 0
    sleep 2
done
