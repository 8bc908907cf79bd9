"""Checkpoints: whole or not there, the newest ones kept."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .errors import CheckpointError
from .flushing import flush

Said = TypeVar("Said")
_NAME = re.compile(r"step-(\d+)")
STATE, WEIGHTS, AVERAGE, OPTIMIZER = (
    "state.json",
    "weights.safetensors",
    "average.safetensors",
    "optimizer.pt",
)


class Checkpoints:
    """The folder with a training's checkpoints, `step-000250/` and so on.

    A checkpoint is written under another name, flushed to disk and renamed at the end, so that whoever looks at any
    moment, also after a power cut, finds whole ones only. The oldest is removed after that, under another name too.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def steps(self) -> list[int]:
        """The steps of whole checkpoints, oldest first."""
        names = (path.name for path in self.folder.iterdir()) if self.folder.is_dir() else ()
        return sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name)))

    def path(self, step: int) -> Path:
        """The folder of a checkpoint."""
        return self.folder / f"step-{step:06d}"

    def save(self, step: int, write: Callable[[Path], Said]) -> Said | None:
        """Let `write` fill a folder and make it the checkpoint of this step; one that is there already stays as it is.

        Returns:
            What `write` does; `None` where it was not called.

        Raises:
            CheckpointError: it cannot be written, for want of room for instance; earlier checkpoints stay.
        """
        final = self.path(step)
        if final.is_dir():
            # A training comes to the same bits again, and to replace it would be a moment without it.
            return None
        part = self._part(step)
        try:
            self.clear_parts()
            part.mkdir(parents=True)
            said = write(part)
            for file in part.iterdir():
                flush(file)
            flush(part)
            os.replace(part, final)
            flush(self.folder)
        except (OSError, RuntimeError, SafetensorError) as error:
            # torch and safetensors report a full disk as errors of their own.
            shutil.rmtree(part, ignore_errors=True)
            reason = (
                error.strerror
                if isinstance(error, OSError) and error.strerror
                else str(error).partition("\n")[0]
            )
            last = self.steps()[-1:]
            lost = (
                f"the checkpoint of step {last[0]} is whole; go on from it with resume"
                if last
                else "there is no earlier one"
            )
            raise CheckpointError(f"{final} cannot be written: {reason}; {lost}") from error
        for old in self.steps()[: -self.keep]:
            with suppress(OSError):
                os.replace(self.path(old), self._part(old))
        self.clear_parts()
        return said

    def clear_parts(self) -> None:
        """Remove what a killed process left half written or half removed."""
        for part in self.folder.glob(".step-*.part"):
            shutil.rmtree(part, ignore_errors=True)

    def _part(self, step: int) -> Path:
        return self.folder / f".{self.path(step).name}.part"


def write_state(
    folder: Path,
    *,
    state: dict[str, Any],
    weights: dict[str, Tensor],
    average: dict[str, Tensor] | None,
    optimizer: dict[str, Any],
) -> None:
    """The files of a checkpoint: plain data, trained weights, their average, and the optimizer's tensors and numbers."""
    (folder / STATE).write_text(json.dumps(state, indent=2, default=str))
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, folder / WEIGHTS
    )
    if average is not None:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in average.items()}, folder / AVERAGE
        )
    torch.save(optimizer, folder / OPTIMIZER)


def read_state(
    folder: Path,
) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor] | None, dict[str, Any]]:
    """What `write_state` wrote. Nothing is unpickled.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    try:
        state = dict(json.loads((folder / STATE).read_text()))
        weights = load_file(folder / WEIGHTS)
        average = load_file(folder / AVERAGE) if (folder / AVERAGE).exists() else None
        optimizer = torch.load(folder / OPTIMIZER, weights_only=True, map_location="cpu")
    except Exception as error:
        raise CheckpointError(
            f"{folder} is no whole checkpoint: {error}; remove it to go on from the one before"
        ) from error
    return state, weights, average, optimizer
