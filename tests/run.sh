#!/usr/bin/env bash
# Installs the dependencies of the tests with the usual clients (rustup, apt-get, mvn, pip, npm, go), and runs all
# tests. The exit code is 0 only if every test passed and none was skipped.
#
# Usage: tests/run.sh
#
# The official SDKs in other languages, Apache Kafka and the brokers' Python clients go to
# ${COSMOS_BRIDGE_CACHE:-$HOME/.cache/cosmos-bridge}; RabbitMQ is a package of the system.
# CARGO_TARGET_DIR is honoured; in CI, where it is not set, build artefacts go there too.
set -euo pipefail
exec </dev/null

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
cache=${COSMOS_BRIDGE_CACHE:-${HOME:-/root}/.cache/cosmos-bridge}
if [[ -n ${CI:-} && -z ${CARGO_TARGET_DIR:-} ]]; then
    export CARGO_TARGET_DIR=$cache/target
fi
# Without this the SDK captures a backtrace for each error, which slows the tests down.
export RUST_BACKTRACE=${RUST_BACKTRACE:-1} RUST_LIB_BACKTRACE=0
# Keeps the SDK from asking the metadata address of an Azure machine, which is not on loopback.
export COSMOS_DISABLE_IMDS=1
# A snapshot that differs is a failure, not a file to review later.
export INSTA_UPDATE=no
# The tests wait for brokers, clocks and disks more than they compute. Those that measure time limit themselves
# (tests/support/machine.rs).
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 2))}
# Longer than a cold run on two slow cores, half of which is the build. A run that takes longer hangs.
limit=70m

echo "tests/run.sh: installing the official Python, JavaScript, Java and Go SDKs if missing"
tests/scripts/clients.sh

echo "tests/run.sh: installing Apache Kafka, RabbitMQ and their Python clients if missing"
tests/scripts/brokers.sh

echo "tests/run.sh: installing the checkers for the files below deploy/ if missing"
tests/scripts/deploy_tools.sh

echo "tests/run.sh: building and running the tests"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
began=$SECONDS
status=0
timeout --foreground "$limit" cargo test --workspace --locked --no-fail-fast 2>&1 | tee "$log" ||
    status=$?

passed=0 failed=0 skipped=0 binaries=0
counts='^test result: [a-zA-Z]+\. ([0-9]+) passed; ([0-9]+) failed; ([0-9]+) ignored; [0-9]+ measured; ([0-9]+) filtered'
while IFS= read -r line; do
    [[ $line =~ $counts ]] || continue
    passed=$((passed + BASH_REMATCH[1]))
    failed=$((failed + BASH_REMATCH[2]))
    skipped=$((skipped + BASH_REMATCH[3] + BASH_REMATCH[4]))
    binaries=$((binaries + 1))
done <"$log"

echo
echo "tests/run.sh: $passed passed, $failed failed, $skipped skipped in $binaries test binaries," \
    "$((SECONDS - began)) s with the build"
if ((status == 124)); then
    echo "tests/run.sh: FAILED: not finished within $limit"
elif ((status != 0 || failed > 0)); then
    echo "tests/run.sh: FAILED"
elif ((passed == 0 || skipped > 0)); then
    echo "tests/run.sh: FAILED: no test may be skipped"
    status=1
else
    echo "tests/run.sh: ok"
fi
exit "$status"
