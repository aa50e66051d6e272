#!/usr/bin/env bash
# Installs the brokers that the tests run against, and the independent clients that read messages
# back, outside the checkout, and prints where they are:
#
#   kafka=/.../kafka-4.4.0-...      a folder with Apache Kafka's jars
#   rabbitmq=/.../rabbitmq_server-  a folder with RabbitMQ's sbin
#   python=/.../bin/python          an interpreter with confluent_kafka, pika, azure.eventhub, cloudevents,
#                                   prometheus_client
#
# Usage: tests/scripts/brokers.sh            install what is missing, then print (quick when all is there)
#        tests/scripts/brokers.sh --check    install nothing; fail and say so when something is missing
#
# Prerequisites, which are installed when missing if the script runs as root on Debian or Ubuntu: Java 17,
# Maven, RabbitMQ, Redis, Python 3.11, strace, and what the Kafka client's C library is built with (make, OpenSSL's
# and zlib's headers). The rest goes to ${COSMOS_BRIDGE_CACHE:-$HOME/.cache/cosmos-bridge}, into folders
# named after the hash of the file that pins them, so a changed pin never runs against an old copy.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pom=$here/../../testing/brokers/kafka/pom.xml
requirements=$here/../../testing/brokers/requirements.txt
cache=${COSMOS_BRIDGE_CACHE:-${HOME:-/root}/.cache/cosmos-bridge}

fail() {
    echo "tests/scripts/brokers.sh: $*" >&2
    exit 1
}

case "${1:-}" in
'') check_only= ;;
--check) check_only=yes ;;
*) fail "unknown argument $1; the only one is --check" ;;
esac

can_apt() { [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; }
# A broker that the package starts would hold the ports and outlive the tests.
apt() {
    local policy=/usr/sbin/policy-rc.d made= status=0
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        made=yes
    fi
    { apt-get update && DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "$@"; } >&2 || status=$?
    [[ -z $made ]] || rm -f "$policy"
    return "$status"
}

digest() { sha256sum "$1" | cut -c1-16; }
python_tag() { python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }
java_major() { java -version 2>&1 | sed -nE '1s/.*version "([0-9]+).*/\1/p'; }
# The newest of the versions that are installed.
rabbitmq_home() {
    find /usr/lib/rabbitmq/lib -maxdepth 1 -name 'rabbitmq_server-*' 2>/dev/null | sort -V | tail -n 1
}

java_ready() { command -v java >/dev/null && (($(java_major) >= 17)); }
rabbitmq_ready() { [[ -x $(rabbitmq_home)/sbin/rabbitmq-server ]] && command -v epmd >/dev/null; }
redis_ready() { command -v redis-server >/dev/null && command -v redis-cli >/dev/null; }
headers_ready() { [[ -e /usr/include/openssl/ssl.h && -e /usr/include/zlib.h ]]; }

# What comes from the system's packages: a test, the package, what to say where it cannot be installed.
packages=() wanted=()
want() {
    if "$1"; then return; fi
    packages+=("${@:3}")
    wanted+=("$2")
}
has_strace() { command -v strace >/dev/null; }
has_make() { command -v make >/dev/null && command -v cc >/dev/null; }
has_maven() { [[ -f $kafka_home/ready ]] || command -v mvn >/dev/null; }
has_python() { command -v python3 >/dev/null && python3 -c 'import ensurepip' 2>/dev/null; }

kafka_version=$(sed -nE '/<artifactId>kafka_2.13</{n;s/.*<version>(.*)<\/version>.*/\1/p}' "$pom")
kafka_home=$cache/kafka-$kafka_version-$(digest "$pom")
want java_ready "Java 17 or newer" openjdk-17-jre-headless
want has_maven "Maven (mvn)" maven
want rabbitmq_ready "RabbitMQ (rabbitmq-server)" rabbitmq-server
want redis_ready "Redis (redis-server, redis-cli)" redis-server redis-tools
want has_strace "strace" strace
want has_make "make and a C compiler" build-essential
want headers_ready "OpenSSL's and zlib's headers (libssl-dev, zlib1g-dev)" libssl-dev zlib1g-dev
want has_python "Python 3.11 with venv" python3 python3-venv
if ((${#packages[@]})); then
    missing=$(printf '%s, ' "${wanted[@]}")
    if [[ -n $check_only ]]; then
        fail "not installed: ${missing%, }; run tests/scripts/brokers.sh"
    elif ! can_apt; then
        fail "not installed: ${missing%, }; install them, or run tests/scripts/brokers.sh as root on Debian or Ubuntu"
    fi
    apt "${packages[@]}"
fi
strace -qq -o /dev/null -e trace=none true ||
    fail "strace may not trace processes here; the tests of what a loss of power leaves need the right to ptrace"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$(python3 --version) is too old; install Python 3.11 or newer"

# An environment also belongs to the interpreter that made it.
python_home=$cache/brokers-python-$(python_tag)-$(digest "$requirements")

# The marker is written last: an interrupted installation is repeated, not used.
kafka_ready() { [[ -f $kafka_home/ready ]]; }
python_ready() { [[ -f $python_home/ready && -x $python_home/bin/python ]]; }

install_kafka() {
    rm -rf "$kafka_home"
    mkdir -p "$kafka_home/libs"
    mvn --batch-mode --quiet --file "$pom" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$kafka_home/libs" >&2
    [[ -f $kafka_home/libs/kafka_2.13-$kafka_version.jar ]] || fail "Maven did not bring Apache Kafka"
    touch "$kafka_home/ready"
}

install_python() {
    rm -rf "$python_home"
    python3 -m venv "$python_home" >&2
    "$python_home/bin/python" -m pip install --quiet --disable-pip-version-check \
        --requirement "$requirements" >&2
    "$python_home/bin/python" -c 'import azure.eventhub, cloudevents, confluent_kafka, pika, prometheus_client, redis'
    touch "$python_home/ready"
}

if [[ -n $check_only ]]; then
    kafka_ready || fail "Apache Kafka $kafka_version is not installed; run tests/scripts/brokers.sh"
    python_ready || fail "the Python clients are not installed; run tests/scripts/brokers.sh"
elif ! kafka_ready || ! python_ready; then
    mkdir -p "$cache"
    # Two test runs on one machine must not install into the same folder concurrently.
    exec 9>"$cache/lock"
    flock 9
    kafka_ready || install_kafka
    python_ready || install_python
fi

echo "kafka=$kafka_home"
echo "rabbitmq=$(rabbitmq_home)"
echo "python=$python_home/bin/python"
