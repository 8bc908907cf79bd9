"""Training state on disk: a run that is killed goes on with the same bits."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import need


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


def training_folder(work: Path, network: str) -> Path:
    """Where the training of `unet`, `decoder` or `scorer` has its state and its log."""
    return work / f"{network}_training"


def state_file(folder: Path) -> Path:
    """The checkpoint in the folder of a training."""
    return folder / "state.pt"


def last_state(work: Path, network: str) -> dict[str, Any]:
    """What the training of `unet`, `decoder` or `scorer` saved last.

    Raises:
        RecipeError: it has not been run.
    """
    path = need(state_file(training_folder(work, network)), f"train {network}")
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state


@torch.no_grad()
def put_weights(into: Iterable[Tensor], weights: Iterable[Tensor]) -> None:
    """Copy tensors into others of the same shapes, in order."""
    for tensor, weight in zip(into, weights, strict=True):
        tensor.copy_(weight)
