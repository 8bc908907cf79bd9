"""Where a training writes, checked before anything is loaded: hours later is too late to be told."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import TrainingError

FILE = ".safetensors"
NOT_FOR_TRAINING = ".not-for-training"
"""A file that keeps a folder's pictures out of training sets: samples, which may lie inside the folder of the data."""


def training_folder(output: Path) -> Path:
    """Where the checkpoints, logs and samples of a training go: `NAME-training` beside what it writes."""
    return output.with_name(f"{output.stem}-training")


def check_not_begun(folder: Path) -> None:
    """Whether a training may begin in this folder.

    Raises:
        TrainingError: there are checkpoints of one in it.
    """
    if not folder.is_dir():
        return
    from .checkpoints import Checkpoints  # Takes torch, which a first training need not wait for here.

    steps = Checkpoints(folder / "checkpoints", keep=1).steps()
    if steps:
        raise TrainingError(
            f"{folder} holds a training that came to step {steps[-1]}; go on with it (--resume), name another output, "
            "or remove the folder"
        )


def check_output(output: Path | str, what: str, *, suffix: str = FILE, resume: bool = False) -> Path:
    """The path of what a training is to write.

    Args:
        output: as it was given.
        what: how errors call it, `a LoRA`.
        suffix: that the file must have; empty for a folder.
        resume: whether it may be there if it is of a training that left checkpoints, which goes on and writes it again.

    Raises:
        TrainingError: another suffix, it exists, a training to it has begun, or nothing can be written there.
    """
    output = Path(output)
    if suffix and output.suffix != suffix:
        raise TrainingError(f"{output}: {what} is a {suffix} file")
    if not suffix and output.suffix == FILE:
        raise TrainingError(f"{output}: {what} is a folder, not a {FILE} file")
    if output.exists() and not resume:
        raise TrainingError(
            f"{output} exists; name another output, or remove it, or let its training go on (--resume)"
        )
    if not resume:
        check_not_begun(training_folder(output))
    if output.exists() and not training_folder(output).is_dir():
        raise TrainingError(
            f"{output} exists, and there is no {training_folder(output)} of a training to go on with; name another output"
        )
    above = next(folder for folder in output.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise TrainingError(f"{above} cannot be written to; name another output")
    return output
