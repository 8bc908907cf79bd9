"""A text that an extension publishes as a file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextFile:
    """What `mezzotint generate` writes beside the picture; in Python, `result.outputs[label][…].text`."""

    suffix: str
    """Of the file's name, with its dot: `.csv`, `.trace.json`."""
    text: str
