"""The held-out split: decided by SHA-256 of code point and style, so that it is the same everywhere.

* A held-out *concept* (about 4 %) is never seen in any style: does the model know a new word? (It does not.)
* A held-out *pair* (about 6 %) is a known concept in a known style, but never seen together.
"""

import hashlib
from typing import Literal

Split = Literal["train", "concept", "pair"]


def split_of(base: str, style: str) -> Split:
    """Which part a picture belongs to. Splits by base code point, so that variants do not leak."""
    if _per_mille(f"concept:{base}") < 40:
        return "concept"
    if _per_mille(f"pair:{base}{style}") < 60:
        return "pair"
    return "train"


def _per_mille(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 1000
