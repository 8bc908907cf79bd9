"""Weights by block: `{"down.*": 0.5, "mid": 0, "up.1": 1.2}` over the modules of the U-Net and text encoder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from mezzotint.errors import suggest

from .errors import LoRAError

_SHORT = (("down_blocks.", "down."), ("mid_block", "mid"), ("up_blocks.", "up."))
_LAYER = re.compile(r"(?:text_model\.)?encoder\.layers\.(\d+)(.*)")


def place_of(component: str, path: str) -> str:
    """How people name the place of a module: `down.1.attentions.0.proj_in`, `text.3.mlp.fc1`, `conv_in`."""
    if component != "unet":
        layer = _LAYER.fullmatch(path)
        name = "text" if component == "text_encoder" else "text2"
        return f"{name}.{layer[1]}{layer[2]}" if layer else f"{name}.{path}"
    for long, short in _SHORT:
        if path.startswith(long):
            return short + path.removeprefix(long)
    return path


def weights_by_module(
    blocks: Mapping[str, float], modules: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], float]:
    """The factor of each (component, module path); the pattern with the most parts counts, 1 where none fits.

    A pattern names a place and all that is inside; `*` stands for one part of a name.

    Raises:
        LoRAError: a pattern fits no module, or two of equal length fit one and differ.
    """
    places = {(component, path): place_of(component, path) for component, path in modules}
    used: set[str] = set()
    factors = {}
    for key, place in places.items():
        fitting = [pattern for pattern in blocks if _covers(pattern, place)]
        used.update(fitting)
        longest = max((pattern.count(".") for pattern in fitting), default=0)
        chosen = [pattern for pattern in fitting if pattern.count(".") == longest]
        exact = [pattern for pattern in chosen if "*" not in pattern] or chosen
        if len({blocks[pattern] for pattern in exact}) > 1:
            raise LoRAError(
                f"blocks: {' and '.join(exact)} both name {place}, with different weights; keep one"
            )
        factors[key] = blocks[exact[0]] if exact else 1.0
    for pattern in blocks:
        if pattern not in used:
            known = sorted({".".join(place.split(".")[:2]) for place in places.values()})
            raise LoRAError(f"blocks: {pattern!r} names no module of this LoRA; {suggest(pattern, known)}")
    return factors


def _covers(pattern: str, place: str) -> bool:
    wanted, parts = pattern.split("."), place.split(".")
    return len(wanted) <= len(parts) and all(
        fnmatchcase(part, want) for want, part in zip(wanted, parts, strict=False)
    )
