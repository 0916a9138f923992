#!/bin/sh
# All tests: Rust (unit, integration over real servers, documentation) and Python.
set -eu
cd -- "$(dirname -- "$0")/.."
. scripts/steps.sh
. scripts/node.sh

tools=${SLUICEGATE_EMBEDDED_TOOLS:-.sluicegate/tools}

# python_tests FOLDER: the tests in FOLDER/tests, if there are any, with FOLDER importable.
python_tests() {
    [ -d "$1/tests" ] || return 0
    step "Python tests of $1" env PYTHONPATH="$1" "$tools/bin/python" -m pytest "$1/tests"
}

# node_packages FOLDER: what a recipe for Node needs, as its lock file says.
node_packages() {
    if ! node_is 20; then
        echo "setup: $(node_wanted 20 "the recipe in $1")" >&2
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

# The web console's pages: types, lints, logic; then in a browser over the whole program.
console_checks() {
    npm run --prefix ui --silent check && npm run --prefix ui --silent test
}

console_in_a_browser() {
    "$tools/bin/python" scripts/browser.py npm run --prefix ui --silent test:browser
}

step 'Tools for the tests' scripts/setup.sh --test
step 'The web console' scripts/console.sh --required
step 'Types, lints and logic of the web console' console_checks
step 'Packages of the recipe for Node' node_packages clients/recipes/node
if cargo nextest --version >/dev/null 2>&1; then
    step 'Rust tests' cargo nextest run --workspace --locked --no-fail-fast
else
    step 'Rust tests' cargo test --workspace --locked --lib --bins --tests --no-fail-fast
fi
step 'Documentation tests' cargo test --workspace --locked --doc
python_tests embedded
client_tests
step 'The web console in a browser' console_in_a_browser
