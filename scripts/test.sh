#!/bin/sh
# All tests: Rust (unit, integration over real servers, documentation) and Python.
set -eu
cd -- "$(dirname -- "$0")/.."
. scripts/steps.sh

tools=${SLUICEGATE_EMBEDDED_TOOLS:-.sluicegate/tools}

# python_tests FOLDER: the tests in FOLDER/tests, if there are any, with FOLDER importable.
python_tests() {
    [ -d "$1/tests" ] || return 0
    step "Python tests of $1" env PYTHONPATH="$1" "$tools/bin/python" -m pytest "$1/tests"
}

# node_packages FOLDER: what a recipe for Node needs, as its lock file says.
node_packages() {
    major=$(node --version 2>/dev/null | sed -n 's/^v\([0-9]*\).*/\1/p')
    if [ "${major:-0}" -lt 20 ] || ! command -v npm >/dev/null 2>&1; then
        echo "setup: the recipe in $1 needs Node 20 or newer with npm, and there is ${major:-none} on the PATH." >&2
        echo "  Debian, Ubuntu: apt-get install nodejs npm" >&2
        echo "  Fedora:         dnf install nodejs npm" >&2
        echo "  macOS:          brew install node" >&2
        return 1
    fi
    npm ci --prefix "$1" --no-audit --no-fund --silent
}

# The Python client: its types, its lints, and its tests over the program that cargo built.
client_tests() {
    client=$(CDPATH='' cd -- clients/python && pwd)
    case $tools in /*) ;; *) tools=$PWD/$tools ;; esac
    step 'The program for the Python client' cargo build --locked --bin sluicegate
    (
        cd -- "$client"
        export SLUICEGATE_EMBEDDED_TOOLS="$tools"
        step 'Lints of the Python client' "$tools/bin/python" -m ruff check .
        step 'Format of the Python client' "$tools/bin/python" -m ruff format --check .
        step 'Types of the Python client' "$tools/bin/python" -m mypy
        step 'Python tests of the client' "$tools/bin/python" -m pytest
    )
}

step 'Tools for the tests' scripts/setup.sh --test
step 'Packages of the recipe for Node' node_packages clients/recipes/node
if cargo nextest --version >/dev/null 2>&1; then
    step 'Rust tests' cargo nextest run --workspace --locked --no-fail-fast
else
    step 'Rust tests' cargo test --workspace --locked --lib --bins --tests --no-fail-fast
fi
step 'Documentation tests' cargo test --workspace --locked --doc
python_tests embedded
client_tests
