"""`python -m chdb_server` (with PYTHONPATH=embedded) or `python embedded/chdb_server`."""

import sys
from pathlib import Path

if not __package__:  # run as a directory: make the package importable by its name
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from chdb_server.cli import main  # noqa: E402  (the path must be set first)

if __name__ == "__main__":
    sys.exit(main())
