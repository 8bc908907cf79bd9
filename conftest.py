"""For every test of the repository."""

from __future__ import annotations

import signal

import pytest


@pytest.fixture(autouse=True)
def ctrl_c_interrupts() -> None:
    """Some tests press Ctrl-C, which a shell lets its background jobs ignore; and libraries change what it does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
