#!/usr/bin/env bash
# Installs what the files below deploy/ are checked with, outside the checkout, and prints where it is:
#
#   python=/.../bin/python    an interpreter with what tests/scripts/deploy/requirements.txt names
#
# Usage: tests/scripts/deploy_tools.sh            install what is missing, then print (quick when all is there)
#        tests/scripts/deploy_tools.sh --check    install nothing; fail and say so when something is missing
#
# Prerequisites, which are installed when missing if the script runs as root on Debian or Ubuntu: Python 3.11,
# systemd (systemd-analyze) and Prometheus (promtool; its service is not started). The rest goes to ${COSMOS_BRIDGE_CACHE:-$HOME/.cache/cosmos-bridge}.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
requirements=$here/deploy/requirements.txt
cache=${COSMOS_BRIDGE_CACHE:-${HOME:-/root}/.cache/cosmos-bridge}

fail() {
    echo "tests/scripts/deploy_tools.sh: $*" >&2
    exit 1
}

case "${1:-}" in
'') check_only= ;;
--check) check_only=yes ;;
*) fail "unknown argument $1; the only one is --check" ;;
esac

packages=()
command -v promtool >/dev/null || packages+=(prometheus)
command -v systemd-analyze >/dev/null || packages+=(systemd)
python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3 python3-venv)
if ((${#packages[@]})); then
    if [[ -n $check_only ]]; then
        fail "not installed: ${packages[*]}; run tests/scripts/deploy_tools.sh"
    elif [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        fail "not installed: ${packages[*]}; install them, or run this as root on Debian or Ubuntu"
    fi
    # Nothing that a package brings is to be started.
    policy=/usr/sbin/policy-rc.d made=
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        made=yes
        trap 'rm -f "$policy"' EXIT
    fi
    { apt-get update && DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${packages[@]}"; } >&2
    [[ -z $made ]] || rm -f "$policy"
fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$(python3 --version) is too old; install Python 3.11 or newer"

tag=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
home=$cache/deploy-python-$tag-$(sha256sum "$requirements" | cut -c1-16)
# The marker is written last: an interrupted installation is repeated, not used.
ready() { [[ -f $home/ready && -x $home/bin/python ]]; }
if [[ -n $check_only ]]; then
    ready || fail "the checkers are not installed; run tests/scripts/deploy_tools.sh"
elif ! ready; then
    mkdir -p "$cache"
    # Two test runs on one machine must not install into the same folder concurrently.
    exec 9>"$cache/lock"
    flock 9
    if ! ready; then
        rm -rf "$home"
        python3 -m venv "$home" >&2
        "$home/bin/python" -m pip install --quiet --disable-pip-version-check \
            --requirement "$requirements" >&2
        touch "$home/ready"
    fi
fi
echo "python=$home/bin/python"
