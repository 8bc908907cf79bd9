"""Weights in a narrower type of number, in which large ones may be infinite."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import TrainingError


class TooLarge(TrainingError):
    """A weight does not fit the type of number that it is to be saved in."""


def narrowed(tensor: Tensor, dtype: torch.dtype, name: str, instead: str) -> Tensor:
    """The tensor in a type of `save_dtype`.

    Args:
        name: of the layer, for the error.
        instead: types to choose in place of this one.

    Raises:
        TooLarge: a finite number in it is more than the type holds.
    """
    cast = tensor.to(dtype)
    if cast.isfinite().all() or not tensor.isfinite().all():
        return cast
    raise TooLarge(
        f"{name} has a weight of {tensor.abs().max():.3g}, and {str(dtype).removeprefix('torch.')} ends at "
        f"{torch.finfo(dtype).max:.5g}; save it with save_dtype={instead}"
    )
