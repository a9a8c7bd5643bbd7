#!/usr/bin/env bash
# The Autobahn cases (by way of PyPI's kosoku) against examples/autobahn_echo.rs, over ws and wss.
# Without 12.* and 13.* (compression is not offered). Fails on any failed case or unclean close.
# Reports: target/autobahn/{ws,wss}. Usage: tests/autobahn/run.sh [CASE ...], for example '7.*' 9.1.1
set -euo pipefail
cd "$(dirname "$0")/../.."

TARGET=${CARGO_TARGET_DIR:-target}
WORK=$TARGET/autobahn
PYTHON=${PYTHON:-python3}
LIMIT=${AUTOBAHN_SECONDS:-600}
mkdir -p "$WORK"

started=()
cleanup() {
    for pid in "${started[@]:-}"; do
        if [ -n "$pid" ]; then kill "$pid" 2>/dev/null || true; fi
    done
}
trap cleanup EXIT

if [ ! -x "$WORK/venv/bin/kosoku" ]; then
    "$PYTHON" -m venv "$WORK/venv"
    timeout 300 "$WORK/venv/bin/pip" install --quiet --disable-pip-version-check 'kosoku==0.1.0'
fi
cargo build --quiet --example autobahn_echo
ECHO=$TARGET/debug/examples/autobahn_echo

# Starts "$@" with its output in file $1 and waits for the line that tells its address.
start() {
    local out=$1
    shift
    : >"$out"
    "$@" >"$out" &
    started+=($!)
    for _ in $(seq 100); do
        if [ -s "$out" ]; then return 0; fi
        if ! kill -0 "${started[-1]}" 2>/dev/null; then break; fi
        sleep 0.1
    done
    echo "did not start: $*" >&2
    exit 1
}

cases=()
for case in "$@"; do cases+=(--include "$case"); done

run() {
    local name=$1 url=$2
    rm -rf "${WORK:?}/$name"
    echo "autobahn over $name"
    timeout "$LIMIT" "$WORK/venv/bin/kosoku" --mode fuzzingclient "$url" \
        --exclude '12.*' --exclude '13.*' ${cases[@]+"${cases[@]}"} --parallelism 2 --outdir "$WORK/$name"
    "$PYTHON" tests/autobahn/verdict.py "$WORK/$name/index.json"
}

start "$WORK/echo.out" "$ECHO"
run ws "$(cat "$WORK/echo.out")"

# kosoku speaks no TLS: a bridge takes its plain bytes and speaks TLS to the echo.
start "$WORK/echo-tls.out" "$ECHO" --tls --certificate "$WORK/certificate.pem"
start "$WORK/bridge.out" "$PYTHON" tests/autobahn/tls_bridge.py "$(cat "$WORK/echo-tls.out")" "$WORK/certificate.pem"
run wss "$(cat "$WORK/bridge.out")"
