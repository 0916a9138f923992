"""Unchecked calls that wait for the server: in a file of each process, or in memory.

A file is only appended to, one record a line: a CRC-32 in hexadecimal, a space, the event's JSON.
Its owner holds a lock on it. A file without a lock is of a process that has ended: whoever finds it
adopts it. A file is emptied only when all of it is sent, so a crash repeats events, under the same
ids, and loses none.
"""

from __future__ import annotations

import os
import re
import threading
import uuid
import zlib
from collections import deque
from typing import Deque, Dict, List, Optional, Tuple

try:
    import fcntl
except ImportError:  # pragma: no cover - no locks on this platform, so no files either
    fcntl = None  # type: ignore[assignment]

_NAME = re.compile(r"^unchecked-\d+-[0-9a-f]{12}\.jsonl$")
#: Bytes of one record; a longer line is a broken one.
MAX_RECORD = 4 * 1024 * 1024


class Memory:
    """Events in memory, bounded by their bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._events: Deque[bytes] = deque()
        self._bytes = 0
        self._max = max_bytes
        self.corrupt = 0

    def put(self, event: bytes) -> bool:
        """Keeps an event; False where there is no room."""
        if self._bytes + len(event) > self._max:
            return False
        self._events.append(event)
        self._bytes += len(event)
        return True

    def first(self) -> Optional[bytes]:
        """The oldest event; it stays until :meth:`done`."""
        return self._events[0] if self._events else None

    def done(self) -> None:
        """The oldest event is sent."""
        self._bytes -= len(self._events.popleft())

    def pending(self) -> int:
        """Events that wait."""
        return len(self._events)


class File:
    """Events in one file that this process holds locked."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._fd = descriptor
        self._read = 0
        self._end = os.fstat(descriptor).st_size
        #: The oldest event and where the next one begins.
        self._head: Optional[Tuple[bytes, int]] = None
        self.corrupt = 0
        self._pending = self._count()

    @classmethod
    def create(cls, folder: str) -> File:
        """A new file, locked before anybody else can see an unlocked one for long."""
        path = os.path.join(folder, f"unchecked-{os.getpid()}-{uuid.uuid4().hex[:12]}.jsonl")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink == 0:
                raise OSError("another process removed the file while it was made")
            return cls(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def adopt(cls, path: str) -> Optional[File]:
        """A file whose process has ended; None where it is alive, or somebody else was faster."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink > 0:
                return cls(path, descriptor)
        except OSError:
            pass
        os.close(descriptor)
        return None

    def put(self, event: bytes) -> int:
        """Appends an event and says how many bytes it took. It outlives this process from here on."""
        record = b"%08x %s\n" % (zlib.crc32(event), event)
        written = os.write(self._fd, record)
        if written != len(record):
            # A full disk: what is half there must not swallow the next record.
            os.ftruncate(self._fd, self._end)
            raise OSError("the record could not be written whole")
        self._end += written
        self._pending += 1
        return written

    def first(self) -> Optional[bytes]:
        """The oldest event that can be read; broken records before it are skipped and counted."""
        while self._head is None and self._read < self._end:
            line, after = self._line(self._read)
            event = _event(line)
            if event is None:
                self.corrupt += 1
                self._pending -= 1
                self._read = after
            else:
                self._head = (event, after)
        return self._head[0] if self._head else None

    def done(self) -> None:
        """The oldest event is sent. The file is emptied after its last one."""
        if self._head is None:
            return
        self._read = self._head[1]
        self._head = None
        self._pending -= 1
        if self._read >= self._end:
            os.ftruncate(self._fd, 0)
            self._read = self._end = self._pending = 0

    def pending(self) -> int:
        """Events that wait."""
        return max(self._pending, 0)

    def size(self) -> int:
        """Bytes on disk."""
        return self._end

    def close(self, remove: bool) -> None:
        """Gives up the lock. What is empty can be removed before."""
        if remove:
            try:
                os.unlink(self.path)
            except OSError:
                pass
        os.close(self._fd)

    def _count(self) -> int:
        count, at = 0, 0
        while at < self._end:
            block = os.pread(self._fd, 1 << 20, at)
            if not block:
                break
            count += block.count(b"\n")
            at += len(block)
        return count

    def _line(self, at: int) -> Tuple[bytes, int]:
        """The line that begins here, and where the next one does."""
        parts: List[bytes] = []
        place = at
        while place < self._end:
            block = os.pread(self._fd, 64 * 1024, place)
            if not block:
                break
            end = block.find(b"\n")
            if end >= 0:
                if place - at <= MAX_RECORD:
                    parts.append(block[:end])
                return b"".join(parts), place + end + 1
            if place - at <= MAX_RECORD:
                parts.append(block)
            place += len(block)
        # A record that was cut by a crash.
        return b"", self._end


def _event(line: bytes) -> Optional[bytes]:
    """The event of a record; None for a broken one."""
    checksum, _, event = line.partition(b" ")
    try:
        return event if len(checksum) == 8 and int(checksum, 16) == zlib.crc32(event) else None
    except ValueError:
        return None


class Spool:
    """All unchecked calls that this process keeps. Safe across threads."""

    def __init__(self, folder: str, max_bytes: int, memory_bytes: int) -> None:
        self._lock = threading.Lock()
        self._folder = folder if fcntl is not None else ""
        self._max = max_bytes
        self._memory = Memory(memory_bytes)
        self._own: Optional[File] = None
        self._adopted: Dict[str, File] = {}
        self._others = 0
        #: Why there is no file, where one was wanted.
        self.problem = ""
        self.lost = 0
        self._corrupt = 0
        self._closed = False

    def put(self, event: bytes) -> bool:
        """Keeps an event: on disk, else in memory. False and counted where no room is left."""
        with self._lock:
            if self._to_disk(event) or self._memory.put(event):
                return True
            self.lost += 1
            return False

    def _to_disk(self, event: bytes) -> bool:
        if not self._folder or self._closed:
            return False
        try:
            if self._own is None:
                os.makedirs(self._folder, mode=0o700, exist_ok=True)
                self._own = File.create(self._folder)
                self._others = self._size_of_others()
            if self._others + self._own.size() + len(event) + 10 > self._max:
                self.problem = f"the files hold {self._max} bytes, which is their bound"
                return False
            self._own.put(event)
            self.problem = ""
            return True
        except OSError as error:
            self.problem = f"{self._folder}: {error}"
            return False

    def _size_of_others(self) -> int:
        total = 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if _NAME.match(entry.name) and not (self._own and entry.path == self._own.path):
                    try:
                        total += entry.stat().st_size
                    except OSError:
                        pass
        return total

    def adopt(self) -> None:
        """Takes the files of processes that have ended."""
        with self._lock:
            if not self._folder or self._closed:
                return
            try:
                names = sorted(name for name in os.listdir(self._folder) if _NAME.match(name))
                for name in names:
                    path = os.path.join(self._folder, name)
                    if path in self._adopted or (self._own is not None and self._own.path == path):
                        continue
                    taken = File.adopt(path)
                    if taken is not None:
                        self._adopted[path] = taken
                self._others = self._size_of_others() if self._own is not None else 0
            except OSError:
                # There is no folder before the first unchecked call.
                pass

    def first(self) -> Optional[Tuple[object, bytes]]:
        """An event that waits, and the token that :meth:`done` wants."""
        with self._lock:
            for path, file in list(self._adopted.items()):
                try:
                    event = file.first()
                except OSError:
                    event = None
                if event is not None:
                    return file, event
                self._corrupt += file.corrupt
                file.close(remove=True)
                del self._adopted[path]
            if self._own is not None:
                try:
                    event = self._own.first()
                except OSError as error:
                    self.problem = str(error)
                    event = None
                if event is not None:
                    return self._own, event
            event = self._memory.first()
            return None if event is None else (self._memory, event)

    def done(self, token: object) -> None:
        """The event that :meth:`first` gave with this token is sent, or can never be."""
        with self._lock:
            if isinstance(token, (File, Memory)) and not self._closed:
                try:
                    token.done()
                except OSError as error:
                    self.problem = str(error)

    def pending(self) -> int:
        """Events that wait, in files and in memory."""
        with self._lock:
            own = self._own.pending() if self._own else 0
            return own + self._memory.pending() + sum(file.pending() for file in self._adopted.values())

    def corrupt(self) -> int:
        """Records that could not be read."""
        with self._lock:
            own = self._own.corrupt if self._own else 0
            return self._corrupt + own + sum(file.corrupt for file in self._adopted.values())

    def close(self) -> None:
        """Leaves what waits to the next process; an empty file is removed. What is in memory is lost."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for file in self._files():
                try:
                    file.close(remove=file.first() is None)
                except OSError:
                    pass
            self._adopted.clear()
            self._own = None

    def forget(self) -> None:
        """In a child of fork: closes the parent's files, whose locks would else outlive the parent."""
        for file in self._files():
            try:
                file.close(remove=False)
            except OSError:
                pass

    def _files(self) -> List[File]:
        return [*self._adopted.values(), *([self._own] if self._own else [])]
