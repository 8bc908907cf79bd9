"""Words of strangers for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text on one line, with a blank for each character that could move the cursor or change what is seen."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
