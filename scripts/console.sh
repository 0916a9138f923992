#!/bin/sh
# Builds the web console's pages into ui/dist, from where the next cargo build takes them into the
# binary. Does nothing when they are newer than their sources. Without Node it says so and succeeds,
# unless called with --required: everything else works without the pages.
set -eu
cd -- "$(dirname -- "$0")/.."

. scripts/node.sh

if ! node_is 20 19; then
    echo "setup: the web console is left out: $(node_wanted 20.19 'the pages in ui/')" >&2
    [ "${1:-}" != --required ]
    exit
fi
newer=$(find ui -path ui/node_modules -prune -o -path ui/dist -prune -o -path ui/tests -prune \
    -o -type f -newer ui/dist/index.html -print 2>/dev/null | head -n 1)
if [ -f ui/dist/index.html ] && [ -z "$newer" ]; then
    exit 0
fi
echo 'setup: building the web console'
npm ci --prefix ui --no-audit --no-fund --silent
npm run --prefix ui --silent build
# cargo doesn't look into ui/dist: the file that takes it in has to look changed.
touch src/roles/console/assets.rs
