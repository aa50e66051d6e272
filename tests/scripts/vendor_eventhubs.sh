#!/usr/bin/env bash
# Reports whether the newest version of the vendor's Rust client for Event Hubs can be in one binary with
# the Cosmos DB SDK that the bridge uses. As soon as it can, it should replace the client in
# sinks/eventhubs. Asks the package registry only; the exit code is 0 either way.
#
# Usage: tests/scripts/vendor_eventhubs.sh
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
sdk=$(sed -n 's/^azure_data_cosmos = .*"=\([0-9.]*\)".*/\1/p' "$root/Cargo.toml" | head -1)
[[ -n $sdk ]] || { echo "vendor_eventhubs.sh: Cargo.toml does not name a version of azure_data_cosmos"; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
newest=$(cargo info azure_messaging_eventhubs 2>/dev/null | sed -n 's/^version: \([^ ]*\).*/\1/p')
if [[ -z $newest ]]; then
    echo "vendor_eventhubs.sh: not known: the package registry does not answer"
    exit 0
fi
mkdir src
echo 'fn main() {}' >src/main.rs
cat >Cargo.toml <<TOML
[package]
name = "both"
version = "0.0.0"
edition = "2024"
[dependencies]
azure_data_cosmos = "=$sdk"
azure_messaging_eventhubs = "=$newest"
[workspace]
TOML
if cargo generate-lockfile 2>error.txt; then
    echo "vendor_eventhubs.sh: azure_messaging_eventhubs $newest resolves with azure_data_cosmos $sdk:" \
        "it can replace the client in sinks/eventhubs"
else
    echo "vendor_eventhubs.sh: azure_messaging_eventhubs $newest does not resolve with azure_data_cosmos $sdk:"
    grep -m 1 -E 'versions that meet|failed to select' error.txt || head -3 error.txt
fi
