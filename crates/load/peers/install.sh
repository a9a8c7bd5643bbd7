#!/bin/sh
# Installs the servers that Switchboard is measured against: Bun, ws and Socket.IO beside this file, nats-server
# under target/peers/nats. Needs Node (npm) and Python 3 (venv). Install scripts are not run: Bun's binary comes
# in a package of its own.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../../.." && pwd)

(cd "$here" && npm ci --ignore-scripts --no-audit --no-fund)
python3 -m venv "$root/target/peers/nats"
"$root/target/peers/nats/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"

case $(uname -m) in aarch64) arch=aarch64 ;; *) arch=x64 ;; esac
"$here/node_modules/@oven/bun-linux-$arch/bin/bun" --version
"$root/target/peers/nats/bin/nats-server" --version
