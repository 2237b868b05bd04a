#!/bin/sh
# Makes .venv with everything `make demo` and `make test` need, or does nothing when it is there.
#
# Needs Python 3.11 or later and a package registry. `PYTHON=/path/to/python` chooses another Python;
# `UV_TORCH_BACKEND=auto` (or cu128, rocm6.4, …) chooses a PyTorch build for a GPU.
set -eu
cd "$(dirname "$0")/.."
venv=.venv
torch=torch==2.13.0
say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# A repeat is over here: the stamp names what the environment was made from, and poe answers only from an
# environment that is whole and still lies where it was made.
want=$(cat pyproject.toml constraints.txt scripts/setup.sh | cksum)
if [ "$(cat $venv/.stamp 2>/dev/null)" = "$want" ] && $venv/bin/poe --version >/dev/null 2>&1; then exit 0; fi

sound() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
candidates=${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3 python}
python=
for candidate in $candidates; do
    if sound "$candidate"; then python=$candidate; break; fi
done
[ -n "$python" ] || fail "no Python 3.11 or later with the venv module among: $candidates.
       Install one (Debian and Ubuntu: apt install python3.11-venv; or pyenv install 3.11), or set PYTHON."

# An environment that was stopped half way, was moved, or lost its Python is made anew; a whole one whose
# requirements changed is brought up to date in place.
whole() {
    [ ! -e $venv/.unfinished ] && sound $venv/bin/python &&
        head -n 3 $venv/bin/pip | grep -qF "$PWD/$venv/" && $venv/bin/pip --version
}
if ! whole >/dev/null 2>&1; then
    say "making $venv with $("$python" --version)"
    rm -rf $venv
    "$python" -m venv $venv
fi
rm -f $venv/.stamp
: >$venv/.unfinished
$venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt uv

# PyTorch comes first and is not in constraints.txt: the registry's build for Linux brings several GB of CUDA
# that nothing here needs. In this order: a wheel that pip's own configuration points to on this machine
# (closed networks), else the build without CUDA, which uv knows where to find, else the registry's build.
if ! $venv/bin/python -c "import importlib.metadata as m, sys; sys.exit(m.version('torch').split('+')[0] != '${torch#*==}')" 2>/dev/null; then
    say "installing $torch (${UV_TORCH_BACKEND:-cpu})"
    if [ -n "${UV_TORCH_BACKEND:-}" ] ||
        ! $venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-index --no-deps $torch 2>/dev/null; then
        $venv/bin/uv pip install --quiet --python $venv/bin/python --torch-backend "${UV_TORCH_BACKEND:-cpu}" $torch || {
            say "that build cannot be reached; installing the registry's own, which is larger"
            $venv/bin/python -m pip install --disable-pip-version-check $torch
        }
    fi
fi

say "installing llm-twin and what it needs"
$venv/bin/uv pip install --quiet --python $venv/bin/python -c constraints.txt -e '.[train,bench,mcp,dev]'

# Pages are tested in a real browser and jobs on a real Redis. A system package is a person's own choice, so they
# come on CI only.
from_debian() {
    if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && ! command -v "$1" >/dev/null && command -v apt-get >/dev/null; then
        say "installing $1 for the tests"
        { apt-get update -qq && apt-get install -qq -y --no-install-recommends "$1"; } >/dev/null 2>&1 ||
            say "$1 cannot be had; the tests that need it will be skipped"
    fi
}
from_debian chromium
from_debian redis-server
rm $venv/.unfinished
printf '%s\n' "$want" >$venv/.stamp
say "ready"
