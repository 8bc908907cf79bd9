"""JSON that a stranger wrote: in a header, in its metadata, beside the weights."""

from __future__ import annotations

import json
from typing import Any


def parse(text: str | bytes) -> Any:
    """What the JSON says.

    Raises:
        ValueError: it is not valid, not UTF-8, or nested too deeply for Python.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
