#!/bin/sh
# The browser tests: needs node 20, Chromium (CHROMIUM, /usr/bin/chromium) and a built server (SWITCHBOARD_BIN,
# target/debug/switchboard). Pictures go to target/e2e.
set -eu
cd "$(dirname "$0")"
bin="${SWITCHBOARD_BIN:-../../target/debug/switchboard}"
[ -x "$bin" ] || { echo "no server at $bin: run cargo build, or set SWITCHBOARD_BIN" >&2; exit 1; }
[ -x "${CHROMIUM:-/usr/bin/chromium}" ] || { echo "no Chromium: install the package chromium, or set CHROMIUM" >&2; exit 1; }
[ -d node_modules/playwright-core ] || npm ci --no-audit --no-fund
exec timeout 500 node --test --test-concurrency=1 --test-timeout=280000 page.test.mjs strangers.test.mjs docs.test.mjs
