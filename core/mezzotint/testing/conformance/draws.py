"""Take the place of torch's normal random numbers, whoever draws them.

A scheduler draws where it likes: `torch.randn` with a generator, `randn_like`, `normal_`. On Gaussian data
it is linear in each draw, so its variance is known exactly once each draw is a unit impulse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_NEW = {"aten::randn", "aten::randn_like"}
_IN_PLACE = {"aten::normal_"}
_OTHER = {"aten::normal"}


class Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within this context every normal random tensor is what `make` returns instead.

    Args:
        make: from the number of the draw, counted from 0, and its shape to the tensor; `None` only counts.
    """

    def __init__(self, make: Callable[[int, Sequence[int]], Tensor] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.make = make
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.name().partition(".")[0]
        if name not in _NEW | _IN_PLACE | _OTHER:
            return result
        if name in _OTHER:
            raise NotImplementedError("draws from torch.normal are not followed; use torch.randn")
        self.count += 1
        if self.make is None:
            return result
        return result.copy_(self.make(self.count - 1, tuple(result.shape)))


def zeros(number: int, shape: Sequence[int]) -> Tensor:
    """No noise at all."""
    return torch.zeros(*shape)


def impulses(number: int, shape: Sequence[int]) -> Tensor:
    """Draw number k is 1 in row k + 1 of a batch and 0 elsewhere; row 0 is for the first sample.

    Raises:
        ValueError: a shape without such a row, as where each sample's noise is drawn alone.
    """
    impulse = torch.zeros(*shape)
    impulse[number + 1] = 1
    return impulse
