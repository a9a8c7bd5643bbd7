#!/bin/sh
# Installs the MCP servers that the tests talk to, in the versions of the lock file. What is there already is left alone.
set -eu
cd "$(dirname "$0")"
if [ ! -f node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    npm ci --ignore-scripts --no-fund --no-audit
    touch node_modules/.package-lock.json
fi
