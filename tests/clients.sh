#!/usr/bin/env bash
# Installs the official Python and JavaScript SDKs for the interoperability tests, outside the
# checkout, and prints where they are:
#
#   python=/.../bin/python          an interpreter that can import azure.cosmos
#   node=/.../node                  a Node.js, 20 or newer
#   node_modules=/.../node_modules  a folder that holds @azure/cosmos
#
# Usage: tests/clients.sh            install what is missing, then print (quick when all is there)
#        tests/clients.sh --check    install nothing; fail and say so when something is missing
#
# The folder is ${COSMOS_BRIDGE_CACHE:-$HOME/.cache/cosmos-bridge}. Each environment is named after
# the hash of the files that pin it, so a changed pin never runs against an old installation.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
requirements=$here/../emulator/tests/requirements.txt
package=$here/../emulator/tests/package.json
package_lock=$here/../emulator/tests/package-lock.json
cache=${COSMOS_BRIDGE_CACHE:-${HOME:-/root}/.cache/cosmos-bridge}

fail() {
    echo "tests/clients.sh: $*" >&2
    exit 1
}

case "${1:-}" in
'' | --check) ;;
*) fail "unknown argument $1; the only one is --check" ;;
esac

command -v python3 >/dev/null || fail "python3 is not installed; install Python 3.11 or newer"
command -v node >/dev/null || fail "node is not installed; install Node.js 20 or newer"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$(python3 --version) is too old; install Python 3.11 or newer"
node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)' ||
    fail "Node.js $(node --version) is too old; install Node.js 20 or newer"

digest() { cat "$@" | sha256sum | cut -c1-16; }
# An environment also belongs to the interpreter that made it.
python_tag=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
python_home=$cache/python-$python_tag-$(digest "$requirements")
node_home=$cache/node-$(digest "$package" "$package_lock")

# The marker is written last: an interrupted installation is repeated, not used.
python_ready() { [[ -f $python_home/ready && -x $python_home/bin/python ]]; }
node_ready() { [[ -f $node_home/ready && -d $node_home/node_modules/@azure/cosmos ]]; }

make_venv() {
    rm -rf "$python_home"
    if python3 -m venv "$python_home" >&2; then return; fi
    # Debian splits the module that installs pip into a package of its own.
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null ||
        fail "python3 cannot make a virtual environment; install python3-venv"
    apt-get update >&2 && apt-get install -y --no-install-recommends python3-venv >&2
    rm -rf "$python_home"
    python3 -m venv "$python_home" >&2
}

install_python() {
    make_venv
    "$python_home/bin/python" -m pip install --quiet --disable-pip-version-check \
        --requirement "$requirements" >&2
    "$python_home/bin/python" -c 'import azure.cosmos'
    touch "$python_home/ready"
}

install_node() {
    command -v npm >/dev/null || fail "npm is not installed; install it beside Node.js"
    rm -rf "$node_home"
    mkdir -p "$node_home"
    cp "$package" "$package_lock" "$node_home/"
    # The lock pins versions and hashes but no host, so any registry that serves them will do.
    (cd "$node_home" && npm ci --silent --no-audit --no-fund >&2)
    touch "$node_home/ready"
}

if [[ ${1:-} == --check ]]; then
    python_ready || fail "the Python SDK is not installed; run tests/clients.sh"
    node_ready || fail "the JavaScript SDK is not installed; run tests/clients.sh"
elif ! python_ready || ! node_ready; then
    mkdir -p "$cache"
    # Two test runs on one machine must not install into the same folder at once.
    exec 9>"$cache/lock"
    flock 9
    python_ready || install_python
    node_ready || install_node
fi

echo "python=$python_home/bin/python"
echo "node=$(command -v node)"
echo "node_modules=$node_home/node_modules"
