#!/bin/sh
# Installs schemathesis into target/schemathesis/venv; what is there already is left alone. Needs python3 with venv.
set -eu
cd "$(dirname "$0")/../.."
venv=${CARGO_TARGET_DIR:-target}/schemathesis/venv
version=4.32.5
if ! "$venv/bin/pip" show schemathesis 2>/dev/null | grep -qx "Version: $version"; then
    python3 -m venv "$venv"
    timeout 300 "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi
