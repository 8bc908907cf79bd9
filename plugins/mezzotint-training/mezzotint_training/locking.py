"""One training at a time: in a folder, where its checkpoints are, and in a process, whose chance torch shares."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import TrainingError

_LOCK = ".lock"
_process = threading.Lock()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Inside, no other training writes into this folder, which is made if it is not there.

    The operating system holds the lock and lets go of it when the process ends, however it ends.

    Raises:
        TrainingError: another training holds it, or the folder cannot be written.
    """
    lock = FileLock(folder / _LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise TrainingError(
            f"another training is writing into {folder}; let it end, or name another output"
        ) from None
    except OSError as error:
        raise TrainingError(f"{folder} cannot be written: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def alone_in_process() -> Iterator[None]:
    """Inside, no other training runs in this process: dropout draws from torch's one generator, in every thread.

    Raises:
        TrainingError: one does.
    """
    if not _process.acquire(blocking=False):
        raise TrainingError(
            "another training runs in this process, and the two would disturb each other's random numbers; start each in "
            "a process of its own"
        )
    try:
        yield
    finally:
        _process.release()
