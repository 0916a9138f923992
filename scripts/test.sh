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

step 'Tools for the tests' scripts/setup.sh --test
if cargo nextest --version >/dev/null 2>&1; then
    step 'Rust tests' cargo nextest run --workspace --locked --no-fail-fast
else
    step 'Rust tests' cargo test --workspace --locked --lib --bins --tests --no-fail-fast
fi
step 'Documentation tests' cargo test --workspace --locked --doc
python_tests embedded
