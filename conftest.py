"""For every test of the repository."""

from __future__ import annotations

import signal

# A shell lets what it runs in the background ignore Ctrl-C, and some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)
