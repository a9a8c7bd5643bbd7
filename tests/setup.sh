#!/bin/sh
# Installs what the tests need, by package name: nextest, PostgreSQL, Chromium, Node's packages, schemathesis, a small
# real model, recorded streams. What is there already is left alone. Needs root for Debian's packages, or sudo.
set -eu
cd "$(dirname "$0")/.."

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

missing=""
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
command -v python3 >/dev/null 2>&1 || missing="$missing python3 python3-pip python3-venv"
command -v node >/dev/null 2>&1 || missing="$missing nodejs npm"
if [ -n "$missing" ]; then
    echo "installing:$missing"
    as_root apt-get update -qq
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
cargo nextest --version >/dev/null 2>&1 || cargo install cargo-nextest --locked

./tests/fixtures/fetch.sh
./tests/peers/install.sh
./tests/mcp/install.sh
./tests/socketio/install.sh
./tests/schemathesis/install.sh
(cd tests/e2e && if [ ! -d node_modules/playwright-core ]; then npm ci --ignore-scripts --no-audit --no-fund; fi)
