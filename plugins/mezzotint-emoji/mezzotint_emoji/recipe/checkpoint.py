"""Training state on disk: a run that is killed goes on with the same bits."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors, numbers, containers): a reader sees the old file or the new, never a part."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read what `save_checkpoint` wrote; None if there is nothing yet."""
    return torch.load(path, weights_only=True) if path.exists() else None


@torch.no_grad()
def put_weights(into: Iterable[Tensor], weights: Iterable[Tensor]) -> None:
    """Copy tensors into others of the same shapes, in order."""
    for tensor, weight in zip(into, weights, strict=True):
        tensor.copy_(weight)
