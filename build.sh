#!/usr/bin/env bash
# Finds a Python, makes the environment of the tool and hands over to it:
# `./build.sh help` lists what it can do.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$root/build/venv
lock=$root/requirements/tools.txt

die() {
    echo "build.sh: $*" >&2
    exit 1
}

find_python() {
    local python
    local probe='import sys, ensurepip, venv'
    probe+='; sys.exit(sys.version_info < (3, 11))'
    for python in "${PYTHON:-}" python3 /usr/bin/python3 python3.13 \
        python3.12 python3.11; do
        if [ -n "$python" ] && "$python" -c "$probe" 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

install_python() {
    local command='apt-get install -y --no-install-recommends python3-venv'
    command -v apt-get >/dev/null ||
        die "no Python 3.11 or later with its venv module; install them"
    [ "$(id -u)" = 0 ] ||
        die "no Python 3.11 or later with its venv module; run: sudo $command"
    echo '==> Installing Python'
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $command >/dev/null
}

# The environment is made beside its place and moved there by its last step,
# so that an interrupted run leaves none that is half made.
make_venv() {
    local python
    python=$(find_python) || {
        install_python
        python=$(find_python) ||
            die "$(python3 --version) is too old: 3.11 or later is needed"
    }
    echo "==> Making the tool's environment with $("$python" --version)"
    rm -rf "$venv"
    mkdir -p "$root/build"
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --require-hashes --requirement "$lock" ||
        die "could not install $lock; see pip's message above"
    cp "$lock" "$venv/lock.txt"
}

# What it says is no output of the command.
cmp -s "$lock" "$venv/lock.txt" || make_venv >&2
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} \
    exec "$venv/bin/python" -m keystone_crdb "$@"
