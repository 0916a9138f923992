"""One core for each process and settings: found, made after a fork, ended with the interpreter."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import Dict, List

from .core import Core
from .settings import Settings

#: Seconds that the end of the interpreter waits for what is still to be sent.
EXIT_TIMEOUT = 2.0

_lock = threading.Lock()
_cores: Dict[Settings, Core] = {}
#: The parent's cores: kept, so that nothing of theirs is ever finalized in a child.
_graves: List[Core] = []
_generation = 0


def generation() -> int:
    """A number that is another one in a child of fork, and after all was closed."""
    return _generation


def core_for(settings: Settings) -> Core:
    """The core for these settings in this process."""
    key = settings.connection()
    with _lock:
        core = _cores.get(key)
        if core is None:
            core = Core(key)
            _cores[key] = core
            _end_with_multiprocessing()
        return core


def close_all(timeout: float = EXIT_TIMEOUT) -> None:
    """Sends what can be sent in time, then ends all connections of this process."""
    global _generation
    with _lock:
        cores = list(_cores.values())
        _cores.clear()
        _generation += 1
    for core in cores:
        core.close(timeout)


def _after_fork() -> None:
    global _lock, _generation
    _lock = threading.Lock()
    _generation += 1
    for core in _cores.values():
        core.forget()
        _graves.append(core)
    _cores.clear()


def _end_with_multiprocessing() -> None:
    """A child of multiprocessing ends without atexit; it has its own finalizers."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, close_all, exitpriority=10)


atexit.register(close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
