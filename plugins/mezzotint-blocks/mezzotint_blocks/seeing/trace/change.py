"""By how much a value changed, whatever a hook point hands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass
from typing import TYPE_CHECKING, Any

from mezzotint import BlockOutput, Conditioning, Pass

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Change:
    """How a value differs from what it was."""

    relative: float | None = None
    """|after - before|₂ / |before|₂; `None` where that says nothing, as for what is added."""
    largest: float | None = None
    """Of the absolute differences."""
    note: str = ""
    """What happened, where numbers do not say it."""


def change(before: Any, after: Any) -> Change:
    """Compare what a hook was given with what it became."""
    if before is after and before is not None:
        return Change(0.0, 0.0)
    if before is None:
        return Change() if after is None else Change(largest=_largest(after), note="adds " + _kind(after))
    if isinstance(after, tuple) and all(isinstance(item, Pass) for item in after):
        return Change(note="passes " + ", ".join(pass_.name for pass_ in after))
    pairs = list(zip(_tensors(before), _tensors(after), strict=False))
    if not pairs:
        return Change(note=_kind(after))
    if any(old.shape != new.shape for old, new in pairs):
        return Change(note="shape {} → {}".format(*(tuple(tensor.shape) for tensor in pairs[0])))
    return _difference(pairs)


def _difference(pairs: Sequence[tuple[Tensor, Tensor]]) -> Change:
    # On the CPU, as not every device has double precision.
    differences = [new.cpu().double() - old.cpu().double() for old, new in pairs if old is not new]
    if not differences:
        return Change(0.0, 0.0)
    moved = sum(float(difference.square().sum()) for difference in differences) ** 0.5
    size = sum(float(old.cpu().double().square().sum()) for old, _ in pairs) ** 0.5
    largest = max(float(difference.abs().max()) for difference in differences)
    return Change(moved / size if size else (float("inf") if moved else 0.0), largest)


def _tensors(value: Any) -> list[Tensor]:
    from PIL.Image import Image
    from torch import Tensor

    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, BlockOutput):
        return [value.hidden_states, *value.skips]
    if isinstance(value, Conditioning):
        return [value.embeddings]
    if isinstance(value, Image):
        return [_pixels(value)]
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _pixels(image: Any) -> Tensor:
    import numpy as np
    import torch

    return torch.from_numpy(np.array(image.convert("RGB")))


def _largest(added: Any) -> float | None:
    """Of what residuals, tokens and the like hold."""
    tensors = _tensors(added)
    if not tensors and is_dataclass(added):
        tensors = [tensor for value in vars(added).values() for tensor in _tensors(value)]
    return max((float(tensor.abs().max()) for tensor in tensors if tensor.numel()), default=None)


def _kind(value: Any) -> str:
    return type(value).__name__
