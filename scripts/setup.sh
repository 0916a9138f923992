#!/bin/sh
# Installs what `make up` and `make test` need beside Rust: finds a Python and leaves the rest to
# setup.py. Does nothing when all is there already.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
seen=''
for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 python; do
    command -v "$candidate" >/dev/null 2>&1 || continue
    # A name may exist and yet not run, like the shims of a version manager.
    version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 9))'; then
        exec "$candidate" "$here/setup.py" "$@"
    fi
    seen="$seen $candidate is $version;"
done

if [ -n "$seen" ]; then
    echo "setup: Python 3.9 or newer is needed, and$seen install a newer one." >&2
else
    echo "setup: Python 3.9 or newer is needed, and there is none on the PATH." >&2
fi
echo "  Debian, Ubuntu: apt-get install python3 python3-venv" >&2
echo "  Fedora:         dnf install python3" >&2
echo "  macOS:          brew install python" >&2
echo "  Or name one:    make setup PYTHON=/path/to/python3" >&2
exit 1
