"""What `mezzotint bench` measures: every accelerator that is installed, and pairs that make sense."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mezzotint.errors import MezzotintError

if TYPE_CHECKING:
    from mezzotint import Extension, Registry

    from .machine import Machine

Spec = tuple[str, Mapping[str, Any]]
"""An extension's name and options."""

EXACT: tuple[Spec, ...] = (
    ("text-kv", {}),
    ("fused-qkv", {}),
    ("channels-last", {}),
    ("packed-weights", {}),
    ("recorded-unet", {}),
    ("attention-slicing", {}),
    ("fast", {"exact": True}),
    ("compile", {}),
    ("openvino", {}),
)
APPROXIMATE: tuple[Spec, ...] = (
    ("fast", {}),
    ("bf16", {}),
    ("openvino", {"precision": "bf16"}),
    ("deepcache", {"interval": 2}),
    ("deepcache", {"interval": 3}),
    ("deepcache", {"interval": 5}),
    ("first-block-cache", {}),
    ("easycache", {"threshold": 0.15}),
    ("token-merging", {}),
    ("tgate", {}),
    ("cfg-interval", {"start": 0.1, "end": 0.7}),
)
PAIRS: tuple[tuple[Spec, Spec], ...] = (
    (("fast", {}), ("deepcache", {"interval": 3})),
    (("fast", {}), ("easycache", {"threshold": 0.15})),
    (("fast", {}), ("tgate", {})),
    (("deepcache", {"interval": 3}), ("tgate", {})),
    (("deepcache", {"interval": 3}), ("token-merging", {})),
    (("openvino", {}), ("cfg-interval", {"start": 0.1, "end": 0.7})),
)
NEEDS_BF16 = {"bf16", "openvino precision=bf16"}
SLOW_TO_START = {"compile"}


@dataclass(frozen=True)
class Candidate:
    """Extensions to measure together."""

    label: str
    extensions: tuple[Extension, ...]
    exact: bool
    skipped: str = ""
    """Why it is not measured; empty where it is."""


def candidates(
    registry: Registry, machine: Machine, *, compile_blocks: bool, only: Sequence[str] = ()
) -> Iterator[Candidate]:
    """All that there is here, those that cannot run here with the reason.

    Args:
        only: names of extensions; others are left out. One that is not known here, such as another plugin's, is taken
            with its defaults.
    """
    singles = [((spec,), True) for spec in EXACT] + [((spec,), False) for spec in APPROXIMATE]
    known = {name for name, _ in (*EXACT, *APPROXIMATE)}
    singles += [(((name, {}),), False) for name in dict.fromkeys(only) if name not in known]
    for specs, exact in [*singles, *((pair, False) for pair in PAIRS)]:
        names = [name for name, _ in specs]
        if only and not set(names) <= set(only):
            continue
        label = " + ".join(_label(*spec) for spec in specs)
        skipped = _why_not(registry, machine, names, label, compile_blocks or "compile" in only)
        try:
            made = () if skipped else tuple(registry.extensions[name](**options) for name, options in specs)
        except MezzotintError as error:
            made, skipped = (), str(error)
        yield Candidate(label, made, exact, skipped)


def _why_not(
    registry: Registry, machine: Machine, names: Sequence[str], label: str, compile_blocks: bool
) -> str:
    for name in names:
        if name not in registry.extensions:
            return f"no plugin here brings {name}"
    if label in NEEDS_BF16 and not machine.fast_bf16:
        return "no native bfloat16 here"
    if SLOW_TO_START & set(names) and not compile_blocks:
        return "takes a minute to start; ask with --compile"
    return ""


def _label(name: str, options: Mapping[str, Any]) -> str:
    return " ".join([name, *(f"{key}={value}" for key, value in options.items())])
