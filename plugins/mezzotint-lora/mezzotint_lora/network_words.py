"""What a header says of the network (`ss_network_…`), brought up to date for a LoRA that was made of others.

Source: kohya-ss/sd-scripts `networks/resize_lora.py`, which writes `Dynamic` where modules differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from mezzotint.strangers_json import parse

from .adapter import Delta
from .deltas import rank_of, shape_of

DIM, ALPHA, ARGUMENTS = "ss_network_dim", "ss_network_alpha", "ss_network_args"
_MIXED = "Dynamic"
_NO_MORE = ("rslora", "use_tucker", "use_cp")
"""Arguments of kinds and scales that a LoRA of singular values does not have."""


def up_to_date(metadata: Mapping[str, str], deltas: Iterable[Delta]) -> dict[str, str]:
    """The metadata with ranks, alphas and kind of these LoRAs, where it has such words; the arguments only if readable."""
    told = ranks_and_alphas(deltas)
    words = {**metadata, **{key: told[key] for key in (DIM, ALPHA) if key in metadata}}
    if ARGUMENTS in words:
        arguments = _arguments(words.pop(ARGUMENTS), told)
        words |= {} if arguments is None else {ARGUMENTS: json.dumps(arguments)}
    return words


def ranks_and_alphas(deltas: Iterable[Delta]) -> dict[str, str]:
    """`ss_network_dim` and `ss_network_alpha` of LoRAs, and `conv_dim` and `conv_alpha` of those of convolutions."""
    factors = [delta for delta in deltas if rank_of(delta)]
    kernels = [delta for delta in factors if _is_of_kernel(delta)]
    others = [delta for delta in factors if not _is_of_kernel(delta)] or kernels
    return {
        DIM: _one(map(rank_of, others)),
        ALPHA: _one(map(_alpha, others)),
        "conv_dim": _one(map(rank_of, kernels)),
        "conv_alpha": _one(map(_alpha, kernels)),
    }


def _arguments(text: str, told: Mapping[str, str]) -> dict[str, Any] | None:
    try:
        found = parse(text)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    return {
        key: "lora" if key == "algo" else told.get(key, value)
        for key, value in found.items()
        if key not in _NO_MORE
    }


def _is_of_kernel(delta: Delta) -> bool:
    """Whether it is for a convolution that kohya's `conv_dim` is for."""
    return any(side > 1 for side in shape_of(delta)[2:])


def _alpha(delta: Delta) -> float:
    return delta.alpha or float(rank_of(delta))


def _one(values: Iterable[float]) -> str:
    """The value of all, or what kohya's script writes in its place; 0 where there is none."""
    different = set(values)
    return str(different.pop()) if len(different) == 1 else _MIXED if different else "0"
