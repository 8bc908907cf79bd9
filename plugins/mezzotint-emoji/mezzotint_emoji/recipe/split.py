"""The held-out split: decided by SHA-256, so that it is the same everywhere.

* A held-out *concept* (about 4 %) is never seen in any style: does the model know a new word?
* A held-out *pair* (about 6 %) is a known concept in a known style, but never seen together.
* A held-out *couple* (10 %) is two known concepts that are never composed into one picture.
* A held-out *synonym* (15 %) is a name of a known concept that no caption uses.
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


def couple_is_held_out(base: str, other: str) -> bool:
    """Whether two concepts are never composed in training, in either order."""
    return _per_mille("couple:" + "+".join(sorted((base, other)))) < 100


def synonym_is_held_out(name: str) -> bool:
    """Whether no caption uses this name."""
    return _per_mille(f"synonym:{name}") < 150


def _per_mille(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 1000
