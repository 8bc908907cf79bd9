"""Whether weights are still those that something was made from: packed, fused, converted or projected."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


class Weights:
    """All weights of a module as it is now; walking through the module anew at every call would take milliseconds."""

    def __init__(self, module: Module) -> None:
        self._places = [
            (held, name, tensor)
            for each in module.modules()
            for held in (each._parameters, each._buffers)
            for name, tensor in held.items()
            if tensor is not None
        ]
        self.tensors = [tensor for _, _, tensor in self._places]

    def are_in_place(self) -> bool:
        """Whether none of them was exchanged for another tensor since."""
        return all(held.get(name) is tensor for held, name, tensor in self._places)


SAMPLED = 64
"""Values of a weight that `weight_sample` reads."""


def weight_state(*weights: Tensor | None) -> Hashable:
    """Cheap enough for every call: changes when a weight is written in place, gets other storage, or is another tensor.

    What is written through `weight.data` does not count as a write; whoever does so and wants to be seen says
    `torch.autograd.graph.increment_version(weight)`. Between runs, `weight_sample` sees it.
    """
    return tuple(None if w is None else (id(w), w._version, w.data_ptr(), w.dtype) for w in weights)


def weight_sample(*weights: Tensor | None) -> Hashable:
    """Some values of each weight, spread over it: some microseconds each, so for once a run.

    Differs where a weight as a whole was written (another LoRA, averaged weights, another checkpoint), however that
    was done; a change of a few values in the dark may be missed.
    """
    return tuple(None if w is None else _sample(w) for w in weights)


def _sample(weight: Tensor) -> bytes:
    import torch

    values = weight.detach()
    if values.dim() == 4 and not values.is_contiguous():
        values = values.permute(0, 2, 3, 1)  # channels last: no copy
    values = values.reshape(-1)
    step = max(1, len(values) // SAMPLED)
    # As bytes: NaN is equal to nothing.
    return bytes(values[::step].contiguous().cpu().view(torch.uint8).numpy())
