"""Where a run is: an index and tensors, and its form on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .noise import Key
from .step import Past

if TYPE_CHECKING:
    from torch import Tensor, device


@dataclass(frozen=True, eq=False)
class ReplayState:
    """A run in progress; each step replaces it."""

    slot: int
    """Index of the next model evaluation."""
    x: Tensor | None = None
    """Sample at the start of the current step, while the solver is within one."""
    answers: tuple[Tensor, ...] = ()
    """The model's answers within the current step."""
    unconditional: Tensor | None = None
    """Denoised sample at the start of the current step without guidance, for solvers that look at it."""
    history: tuple[Past, ...] = ()
    """Earlier steps, as many as the solver needs."""
    keys: tuple[Key, ...] | None = None
    """Of the noise; set when the solver first asks for noise."""


def pack(state: ReplayState | None) -> dict[str, Any]:
    """As nested dicts, lists, numbers and tensors."""
    if state is None:
        return {"slot": None}
    return {
        "slot": state.slot,
        "x": state.x,
        "answers": list(state.answers),
        "unconditional": state.unconditional,
        "history": [
            {"x": past.x, "sigma": past.sigma, "denoised": past.denoised, "carry": dict(past.carry)}
            for past in state.history
        ],
        "keys": None if state.keys is None else [list(key) for key in state.keys],
    }


def unpack(packed: Mapping[str, Any], on: device | str | None = None) -> ReplayState | None:
    """The inverse of `pack`, with tensors on the given device."""
    if packed["slot"] is None:
        return None
    return ReplayState(
        slot=packed["slot"],
        x=None if packed["x"] is None else packed["x"].to(on),
        answers=tuple(answer.to(on) for answer in packed["answers"]),
        unconditional=None if packed["unconditional"] is None else packed["unconditional"].to(on),
        history=tuple(
            Past(
                past["x"].to(on),
                past["sigma"],
                past["denoised"].to(on),
                {name: tensor.to(on) for name, tensor in past["carry"].items()},
            )
            for past in packed["history"]
        ),
        keys=None if packed["keys"] is None else tuple((seed, sample) for seed, sample in packed["keys"]),
    )
