#!/bin/sh
# Installs the official client of Socket.IO, which tests drive. Needs node 20 or newer with npm.
set -eu
cd "$(dirname "$0")"
[ -d node_modules/socket.io-client ] || npm ci --ignore-scripts --no-audit --no-fund
