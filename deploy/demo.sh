#!/usr/bin/env bash
# Shows cosmos-bridge at work on this machine: two local accounts, 50,000 orders, a live workload,
# the bridge with config.toml.example, and a comparison of every document. Needs the Rust toolchain
# and a package registry; ports 8081, 8082 and 8090, which config.toml.example names, must be free.
#
# Usage: deploy/demo.sh [--orders N] [--rate PER_SECOND] [--seconds N] [--keep]
#
# Ends with 0 only if source and target are equal. --keep leaves the accounts up until Ctrl-C.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
# A backtrace per SDK error would be measured instead of the bridge.
export RUST_LIB_BACKTRACE=0
# The SDK asks the metadata address of an Azure machine at every start; nothing leaves loopback here.
export COSMOS_DISABLE_IMDS=1

# Two builds: one build of both would give the bridge the features that the local accounts need.
echo "demo: building the bridge"
# As a release is built: OpenSSL and zlib, which the Kafka client needs, come with it.
cargo build --release --locked -p cosmos-bridge --features static
echo "demo: building the local accounts"
cargo build --release --locked -p cosmos-bridge-emulator --example demo

exec "$CARGO_TARGET_DIR/release/examples/demo" \
    --bridge "$CARGO_TARGET_DIR/release/cosmos-bridge" --config "$root/config.toml.example" "$@"
