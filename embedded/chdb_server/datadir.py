"""The data directory: one process at a time, and the engine's configuration in it.

    DIR/lock          held (flock) for the life of the process; says who holds it
    DIR/config/       written anew at every start
    DIR/engine/       the engine's own files
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from pathlib import Path
from typing import Optional
from xml.sax.saxutils import escape

# The engine reads its connection string up to `?`, then options parted by `&`.
_FORBIDDEN_IN_PATH = "?&%#"

# chDB makes its default database an overlay on the file system, where a table
# name may be the path of any file. We give that one another name, and have an
# ordinary `default` in its place.
_OVERLAY = "_files"

_CONFIG = """\
<clickhouse>
    <logger><level>none</level></logger>
    <default_database>{overlay}</default_database>
    <users_config>{users}</users_config>
    <user_directories><users_xml><path>{users}</path></users_xml></user_directories>
</clickhouse>
"""

# Grants as a server without sources: tables and views, but no files, URLs or
# other databases, which would be read with the rights of this process.
# Inserts are written when they are acknowledged, so never asynchronously.
_USERS = """\
<clickhouse>
    <profiles><default>
        <async_insert>0</async_insert>
        <implicit_select>0</implicit_select>
        <allow_python_table_function>0</allow_python_table_function>
        <constraints><allow_python_table_function><const/></allow_python_table_function></constraints>
    </default></profiles>
    <quotas><default/></quotas>
    <users><default>
        <password></password>
        <networks><ip>::/0</ip></networks>
        <profile>default</profile>
        <quota>default</quota>
        <grants>
            <query>GRANT CHECK, SHOW, SELECT, INSERT, ALTER, CREATE, DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE, \
KILL QUERY, MOVE PARTITION BETWEEN SHARDS, SYSTEM, dictGet, INTROSPECTION ON *.*</query>
            <query>GRANT TABLE ENGINE ON *</query>
            <query>GRANT SET DEFINER ON *</query>
            <query>REVOKE SYSTEM SHUTDOWN ON *.*</query>
        </grants>
    </default></users>
</clickhouse>
"""


class DataDirError(Exception):
    """The data directory can't be used; the text says why and what to do."""


class DataDir:
    """An existing, locked data directory."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: Optional[int] = None
        bad = sorted(set(_FORBIDDEN_IN_PATH) & set(str(self.path)))
        if bad:
            raise DataDirError(f"--data {self.path}: the engine can't open a path with {' '.join(bad)} in it")
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._acquire()
        except OSError as error:
            raise DataDirError(f"--data {self.path}: {error.strerror or error}") from error

    def _acquire(self) -> None:
        file = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 4096, 0).decode("utf-8", "replace").strip() or "an unknown process"
            os.close(file)
            raise DataDirError(
                f"--data {self.path}: already in use by {holder}; one process serves a data directory: "
                "stop that one, talk to it, or choose another directory"
            ) from None
        self._lock = file
        self.note()

    def note(self, **facts: object) -> None:
        """Write into the lock file who holds it."""
        assert self._lock is not None
        holder = {"pid": os.getpid(), "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **facts}
        text = (json.dumps(holder) + "\n").encode()
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, text, 0)

    def release(self) -> None:
        """Give the directory back. The kernel does it, too, when the process dies."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def prepare_engine(self) -> str:
        """Write the engine's configuration; returns chDB's connection string."""
        config = self.path / "config"
        engine = self.path / "engine"
        config.mkdir(exist_ok=True, mode=0o700)
        (engine / "metadata").mkdir(parents=True, exist_ok=True, mode=0o700)
        users = config / "users.xml"
        users.write_text(_USERS)
        (config / "config.xml").write_text(_CONFIG.format(overlay=_OVERLAY, users=escape(str(users))))
        default = engine / "metadata" / "default.sql"
        if not default.exists():
            # the engine refuses connections while there is no database of this name
            default.write_text(f"ATTACH DATABASE _ UUID '{uuid.uuid4()}'\nENGINE = Atomic\n")
        return f"{engine}?config-file={config / 'config.xml'}"
