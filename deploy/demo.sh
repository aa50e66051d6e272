#!/usr/bin/env bash
# Shows cosmos-bridge at work on this machine: two local accounts, 50,000 orders, a live workload,
# the bridge with the pipeline of config.toml.example, and a comparison of every document. On a terminal
# the bridge shows its progress. Needs the Rust toolchain, a C compiler and a package registry; ports
# 8081, 8082 and 8090, which config.toml.example names, must be free.
#
# Usage: deploy/demo.sh [--orders N] [--rate PER_SECOND] [--seconds N] [--keep] [--release]
#                       [--kafka] [--rabbitmq]
#
#   --kafka      also publishes every change to Apache Kafka, shows events and compares all of them
#   --rabbitmq   the same with RabbitMQ; both can be given
#                tests/scripts/brokers.sh installs the brokers and their clients if missing: as root on
#                Debian or Ubuntu from the system's packages, else it says what to install
#   --keep       leaves the accounts and brokers up until Ctrl-C
#   --release    builds the bridge as it is shipped, which takes more than twice as long
#
# Ends with 0 only if source and target are equal and every broker has the newest version of every
# document; with 2 if the arguments are wrong.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { echo "demo: $*"; }
fail() {
    local code=$1
    shift
    echo "demo: FAILED: $*" >&2
    exit "$code"
}
usage() { sed -nE '/^# Usage: /,/^set /s/^# ?//p' "$root/deploy/demo.sh"; }

# All mistakes in the arguments are found before the build, which takes minutes.
profile=trial kafka='' rabbitmq='' arguments=()
while (($#)); do
    case $1 in
    --orders | --seconds)
        [[ ${2:-} =~ ^[1-9][0-9]{0,8}$ ]] || fail 2 "$1 needs a whole number above 0"
        arguments+=("$1" "$2")
        shift
        ;;
    --rate)
        [[ ${2:-} =~ ^[0-9]{1,6}(\.[0-9]+)?$ && $2 =~ [1-9] ]] ||
            fail 2 "--rate needs a number above 0: inserts and updates per second"
        arguments+=("$1" "$2")
        shift
        ;;
    --kafka) kafka=yes arguments+=("$1") ;;
    --rabbitmq) rabbitmq=yes arguments+=("$1") ;;
    --keep) arguments+=("$1") ;;
    --release) profile=release ;;
    --help | -h)
        usage
        exit
        ;;
    *)
        usage >&2
        fail 2 "unknown argument $1"
        ;;
    esac
    shift
done

for port in 8081 8082 8090; do
    # Where `ss` is missing, the demo finds it after the build.
    if [[ -n $(ss -Hltn "sport = :$port" 2>/dev/null) ]]; then
        fail 1 "port $port is in use; config.toml.example names it, so the demo needs it. Find what uses" \
            "it (ss -ltnp), stop it, and start the demo again"
    fi
done
command -v cargo >/dev/null || fail 1 "cargo was not found; install the Rust toolchain with rustup"

if [[ -n $kafka || -n $rabbitmq ]]; then
    say "looking for the brokers and their clients, and installing them if missing"
    "${COSMOS_BRIDGE_BROKERS_SCRIPT:-tests/scripts/brokers.sh}" >/dev/null
fi

# Kafka's client needs OpenSSL and zlib: those of the system, or else they are built from source.
libraries=()
if [[ $profile == release || -n $kafka ]] && ! pkg-config --exists openssl zlib 2>/dev/null; then
    say "the headers of OpenSSL and zlib were not found (on Debian and Ubuntu: pkg-config, libssl-dev," \
        "zlib1g-dev)"
    say "so both are built from source, which needs perl and make and takes some minutes more"
    for program in perl make; do
        command -v "$program" >/dev/null || fail 1 "$program was not found; install it, or the headers"
    done
    libraries=(static)
fi

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
# A backtrace per SDK error would be measured instead of the bridge.
export RUST_LIB_BACKTRACE=0
# The SDK asks the metadata address of an Azure machine at every start; nothing leaves loopback here.
export COSMOS_DISABLE_IMDS=1

# One cargo command, after a line about its size: build WHAT MINUTES [ARGUMENT OF CARGO TREE AND BUILD ..] --
# [ARGUMENT OF CARGO BUILD ..]
build() {
    local what=$1 minutes=$2 both=() crates began=$SECONDS
    shift 2
    while [[ $1 != -- ]]; do
        both+=("$1")
        shift
    done
    shift
    crates=$(cargo tree --quiet --locked --edges normal,build --prefix none --format '{p}' "${both[@]}" |
        sed 's/ (\*)$//' | sort -u | wc -l)
    say "building $what: $crates crates; about $minutes minutes on two free cores if none of them is built"
    cargo build --locked "${both[@]}" "$@"
    say "built $what in $((SECONDS - began)) s"
}

if [[ $profile == trial ]]; then
    # One build: what both need is compiled once. It also means that the bridge's client library contains
    # the vendor's in-memory emulator, as in the tests; the bridge does not use it.
    features=(file http ${kafka:+kafka} ${rabbitmq:+amqp} "${libraries[@]}")
    built="with the profile trial and the features ${features[*]}, in one build with the local accounts; \
deploy/demo.sh --release builds what is shipped, which is faster"
    build "the bridge and the local accounts for a trial" 5 \
        -p cosmos-bridge -p cosmos-bridge-emulator --no-default-features \
        --features "$(printf 'cosmos-bridge/%s,' "${features[@]}")" -- \
        --profile trial --bin cosmos-bridge --example demo
else
    # Two builds: one build of both would give the bridge the features that the local accounts need.
    built="with the profile release and all sinks, apart from the local accounts"
    [[ -n ${libraries[*]} ]] || built+=", and with OpenSSL and zlib of the system"
    build "the bridge for release" 12 -p cosmos-bridge ${libraries[@]:+--features static} -- --release
    build "the local accounts" 3 -p cosmos-bridge-emulator -- --release --example demo
fi

exec "$CARGO_TARGET_DIR/$profile/examples/demo" --bridge "$CARGO_TARGET_DIR/$profile/cosmos-bridge" \
    --built "$built" --config "$root/config.toml.example" "${arguments[@]}"
