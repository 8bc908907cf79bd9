"""Ctrl-C and SIGTERM let a step finish, so that it can be saved."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

logger = logging.getLogger("mezzotint")


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """The event is set by Ctrl-C or SIGTERM, so that a step is finished and saved; the second time stops at once.

    With several processes each would stop at another step; there a signal ends them, and the last checkpoint counts.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread() or int(os.environ.get("WORLD_SIZE", 1)) > 1:
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def asked(number: int, frame: Any) -> None:
        stop.set()
        logger.info("stops after this step, which is saved; a second time stops at once")
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, asked)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
