"""The keys of peft's `alpha_pattern`, which are regular expressions: those that name modules, without running them.

Source: huggingface/peft `utils/other.py` (`get_pattern_key`). A stranger's expression could keep `re` busy for ever,
so only those are read that `fnmatch` can say, and it never goes back.
"""

from __future__ import annotations

import fnmatch
import glob
import re
from functools import lru_cache

MAX_KEYS, MAX_LENGTH, MAX_WILDCARDS = 10_000, 1000, 8
"""Of an adapter, of a key, and in a key: more would only keep the machine busy."""
_PIECE = re.compile(r"\.\*|\\[^a-zA-Z0-9]|[^\\^$*+?{}\[\]()]")
"""Any text, a character that is escaped, one that stands for itself, or a dot for any."""


@lru_cache(maxsize=MAX_KEYS)
def readable(key: str) -> re.Pattern[str] | None:
    """What the whole name of a module must match; `None` for a key that only a real regular expression is.

    Read are names, from their last part on or with `^` from the first, `.` and `.*` in them, and several with `|`.
    """
    if len(key) > MAX_LENGTH or key.count(".*") > MAX_WILDCARDS:
        return None
    globs = []
    for name in re.split(r"(?<!\\)\|", key):
        pieces = re.fullmatch(rf"(\^?)((?:{_PIECE.pattern})++)\$?", name)
        if pieces is None:
            return None
        ending = "".join(map(_glob, _PIECE.findall(pieces[2])))
        globs += [ending] if pieces[1] else [ending, f"*.{ending}"]
    return re.compile("|".join(map(fnmatch.translate, globs)))


def _glob(piece: str) -> str:
    return {".*": "*", ".": "?"}.get(piece) or glob.escape(piece[-1])
