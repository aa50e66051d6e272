#!/usr/bin/env bash
# Builds OpenTelemetry's collector from its modules, outside the checkout, and has the bridge send traces to
# it. Not a part of tests/run.sh: it needs Go 1.26 or newer and its module proxy, and takes minutes.
#
# Usage: tests/scripts/collector/run.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${COSMOS_BRIDGE_CACHE:-${HOME:-/root}/.cache/cosmos-bridge}
home=$cache/collector-$(cat "$here"/{main.go,go.mod,go.sum} | sha256sum | cut -c1-16)
command -v go >/dev/null || {
    echo "tests/scripts/collector/run.sh: go is not installed; install Go 1.26 or newer" >&2
    exit 1
}
if [[ ! -x $home/collector ]]; then
    mkdir -p "$home"
    (cd "$here" && go build -mod=readonly -o "$home/collector.part" .)
    mv "$home/collector.part" "$home/collector"
fi
cd "$here/../../.."
COSMOS_BRIDGE_COLLECTOR=$home/collector \
    cargo test --locked --features collector --test sinks the_collector_of_opentelemetry
