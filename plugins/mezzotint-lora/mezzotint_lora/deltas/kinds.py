"""The kinds of deltas and the tensors that each must and may have; no torch here, for whoever only looks at keys."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

ANY = "any"
"""Marks a tensor that goes with every kind."""


@dataclass(frozen=True)
class Kind:
    """Names of a kind's tensors."""

    title: str
    required: tuple[tuple[str, ...], ...]
    """Groups; of each, all are there, or the alternative in `instead`."""
    instead: tuple[tuple[str, ...], ...] = ()
    """For each group, what may stand in its place; empty for nothing."""

    def missing(self, names: Collection[str]) -> str:
        """What is absent, or nothing."""
        for position, group in enumerate(self.required):
            other = self.instead[position] if position < len(self.instead) else ()
            if all(name in names for name in group) or (other and all(name in names for name in other)):
                continue
            wanted = " and ".join(name for name in group if name not in names)
            return f"{wanted}{' (or ' + ' and '.join(other) + ')' if other else ''}"
        return ""


KINDS = {
    "lora": Kind("LoRA", (("down", "up"),)),
    "loha": Kind("LoHa", (("w1_a", "w1_b", "w2_a", "w2_b"),)),
    "lokr": Kind("LoKr", (("w1",), ("w2",)), (("w1_a", "w1_b"), ("w2_a", "w2_b"))),
    "full": Kind("full difference", (("weight",),), (("bias",),)),
    "norm": Kind("norm difference", (("weight",),), (("bias",),)),
}
