"""JSON that a stranger wrote: in a header, beside weights, in a picture, in a data set."""

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
        raise ValueError("lists or objects in it are nested too deeply to read") from None
