"""What a recipe keeps of options that are folders, or several files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mezzotint.hashing import hash_file, hash_model


def digests(options: Mapping[str, object]) -> dict[str, str]:
    """SHA-256 by option: of a file, of a model's folder, and `option.0`, `option.1`, … of several files."""
    found = {}
    for name, value in options.items():
        if isinstance(value, Path) and value.exists():
            found[name] = hash_model(value)
        elif isinstance(value, tuple):
            files = {f"{name}.{i}": each for i, each in enumerate(value) if isinstance(each, Path)}
            found |= {key: hash_file(each) for key, each in files.items() if each.is_file()}
    return found
