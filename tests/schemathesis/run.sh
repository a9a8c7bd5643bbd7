#!/bin/sh
# Asks a hub of its own, on loopback and in a new folder, for all that /api/openapi.json describes, with data made up
# from the document: what fits it and what does not. Fails on any answer that is a server error or not as described.
#   run.sh         always the same requests, about two minutes
#   run.sh long    for LONG_SECONDS (1800), other requests each time; prints the seed
# Needs a built server (SWITCHBOARD_BIN, target/debug/switchboard) and tests/schemathesis/install.sh.
set -eu
cd "$(dirname "$0")/../.."
here=$PWD/tests/schemathesis
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
bin=$(realpath -m "${SWITCHBOARD_BIN:-$target/debug/switchboard}")
tool=$target/schemathesis/venv/bin/schemathesis
[ -x "$bin" ] || { echo "no server at $bin: run cargo build, or set SWITCHBOARD_BIN" >&2; exit 1; }
[ -x "$tool" ] || ./tests/schemathesis/install.sh
data=$(mktemp -d)
hub=
cleanup() {
    cd /
    if [ -n "$hub" ]; then kill "$hub" 2>/dev/null && wait "$hub" 2>/dev/null || true; fi
    rm -rf "$data"
}
trap cleanup EXIT INT TERM

# Limits are off; those that would let a request change them, or wait for minutes, are fixed: the environment beats what
# is stored. So is the level of the log.
for limit in CONNECTIONS_PER_USER FRAMES_PER_SECOND MESSAGES_PER_MINUTE REFUSED_PER_MINUTE REQUESTS_PER_MINUTE \
    SIGN_INS_PER_MINUTE SOCKET_MESSAGES_PER_MINUTE STRANGERS_PER_MINUTE; do
    export "SWITCHBOARD_LIMITS__$limit=0"
done
export SWITCHBOARD_LIMITS__WAIT_SECONDS=5 SWITCHBOARD_PROVIDERS__DEMO__WORD_INTERVAL_MS=0
export SWITCHBOARD_LOG__FORMAT=json SWITCHBOARD_LOG__LEVEL=info
unset OPENAI_API_KEY OPENAI_BASE_URL OPENAI_MODEL ANTHROPIC_API_KEY ANTHROPIC_BASE_URL ANTHROPIC_MODEL
log=$target/schemathesis/hub.log
"$bin" serve --data "$data/hub" --listen 127.0.0.1:0 2>"$log" &
hub=$!
address=
for _ in $(seq 300); do
    address=$(sed -n 's/.*"message":"listening","address":"\([^"]*\)".*/\1/p' "$log")
    [ -z "$address" ] || break
    kill -0 "$hub" 2>/dev/null || { cat "$log" >&2; exit 1; }
    sleep 0.1
done
[ -n "$address" ] || { echo "the hub did not say where it listens" >&2; exit 1; }
token=$("$bin" token --user root --role owner --ttl 24h --data "$data/hub")
# Whom the requests may shut out instead of the one who asks: see hooks.py.
"$bin" token --user second --role owner --data "$data/hub" >/dev/null

if [ "${1:-short}" = long ]; then
    seed=${SEED:-$(date +%s)}
    set -- --max-time "${LONG_SECONDS:-1800}" --seed "$seed" --phases examples,coverage,fuzzing,stateful
else
    set -- --max-examples "${EXAMPLES:-20}" --seed 1 --phases examples,coverage,fuzzing \
        --generation-deterministic
fi
echo "schemathesis $*"
status=0
export SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$here
# What it keeps of a run goes with the folder: the next one begins without it.
cd "$data"
timeout "$((${LONG_SECONDS:-1800} + 600))" "$tool" run "http://$address/api/openapi.json" "$@" --workers 1 \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --header "Authorization: Bearer $token" --request-timeout 30 --warnings off --continue-on-failure \
    --no-color || status=$?

# Whatever was asked, the hub still serves, and still knows who asked.
code=$("$target/schemathesis/venv/bin/python" "$here/status.py" "http://$address/config" "$token")
[ "$code" = 200 ] || { echo "after the run /config answers $code to who asked" >&2; status=1; }
# Most of what was asked was asked by somebody who is known.
strangers=$(grep -c '"status":401,' "$log" || true)
[ "$strangers" -lt 200 ] || { echo "$strangers requests were answered 401" >&2; status=1; }
if grep -q '"message":"panic"' "$log"; then
    grep '"message":"panic"' "$log" >&2
    status=1
fi
exit "$status"
