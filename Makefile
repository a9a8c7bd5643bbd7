# make run    builds the hub and starts it        make test   installs what tests need and runs them all
# make check  format, lints, documentation        make bench  speed, side by side with peers
# make soak   the long suites (needs root)        make autobahn   the WebSocket conformance cases
# make fuzz   the HTTP interface, asked with made-up data for half an hour

.DEFAULT_GOAL := help
.PHONY: help run build need-build need-test check test unit e2e rest autobahn fuzz bench soak protocol openapi clean

SHELL := /bin/sh
ARGS ?=

# libpq's TLS needs OpenSSL: from the system's headers where they are, else built along.
FEATURES := $(shell test -f /usr/include/openssl/ssl.h || echo openssl-vendored)

help:
	@sed -n '1,4p' Makefile

need-build:
	@command -v cargo >/dev/null || { echo "Rust is missing. Install it with: curl https://sh.rustup.rs -sSf | sh"; exit 1; }
	@command -v cc >/dev/null || { echo "A C compiler is missing. Install it with: sudo apt-get install gcc libc6-dev"; exit 1; }
	@test -f /usr/include/openssl/ssl.h || command -v perl >/dev/null || { echo "OpenSSL's headers are missing. Install them with: sudo apt-get install libssl-dev"; exit 1; }

build: need-build
	cargo build --release --locked --features "$(FEATURES)"

# The hub with its page, an embedded database in ./data and the demo agent; ARGS go to `switchboard serve`.
run: build
	./target/release/switchboard serve --data data $(ARGS)

need-test: need-build
	./tests/setup.sh

check: need-build
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --features failpoints -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

unit:
	cargo nextest run --workspace --locked --features failpoints
	cargo nextest run -p switchboard-protocol --locked --features describe

# In a real browser, against the program that `unit` built.
e2e:
	./tests/e2e/run.sh

# What /api/openapi.json says, against the program that `unit` built.
rest:
	./tests/schemathesis/run.sh

test: need-test check unit e2e rest

autobahn: need-build
	./tests/autobahn/run.sh

fuzz: need-test
	cargo build --locked --features failpoints
	./tests/schemathesis/run.sh long

bench: build
	./crates/load/peers/install.sh
	cargo build --release --locked -p switchboard-load --features stock
	./target/release/switchboard-load bench --switchboard target/release/switchboard $(ARGS)

# The promises, many times over. As root: it mounts and cuts a disk.
soak: need-test
	SOAK=1 cargo nextest run --locked --features failpoints --test it --profile soak soak

# Renews the JSON Schema and the TypeScript types after a change of the wire.
protocol:
	UPDATE=1 cargo nextest run -p switchboard-protocol --locked --features describe

# Renews docs/openapi.json after a change of the HTTP interface.
openapi:
	UPDATE=1 cargo nextest run --lib --locked --features failpoints the_copy_in_the_repository

clean:
	cargo clean
