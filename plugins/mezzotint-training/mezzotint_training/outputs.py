"""Where a training writes, checked before anything is loaded: hours later is too late to be told."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import TrainingError

FILE = ".safetensors"
NOT_FOR_TRAINING = ".not-for-training"
"""A file that keeps a folder's pictures out of training sets: samples, which may lie inside the folder of the data."""


def training_folder(output: Path) -> Path:
    """Where the checkpoints, logs and samples of a training go: `NAME-training` beside what it writes.

    `NAME` is without `.safetensors`; of folders it is whole, so that `net.v1` and `net.v2` have one each.
    """
    return output.with_name(f"{output.name.removesuffix(FILE)}-training")


def check_not_begun(folder: Path) -> None:
    """Whether a training may begin in this folder.

    Raises:
        TrainingError: there are checkpoints of one in it.
    """
    steps = _steps(folder)
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
        TrainingError: another suffix, it exists (to resume, of a training without checkpoints, or of the other kind), a
            training to it has begun, or nothing can be written there, to its training's folder either.
    """
    output = Path(output)
    if suffix and output.suffix != suffix:
        raise TrainingError(f"{output}: {what} is a {suffix} file")
    if not suffix and output.suffix == FILE:
        raise TrainingError(f"{output}: {what} is a folder, not a {FILE} file")
    if output.name in ("", ".."):
        raise TrainingError(f"{output} has no name of its own, and {what} needs one; name an output")
    above = _check_above(output)
    folder = training_folder(output)
    for name in (output, folder):
        _check_name(above, name)
    if output.exists() and output.is_dir() == bool(suffix):
        kinds = ("folder", f"{suffix} file") if suffix else ("file", "folder")
        raise TrainingError(f"{output} is a {kinds[0]}, and {what} is a {kinds[1]}; name another output")
    if output.exists() and not resume:
        raise TrainingError(
            f"{output} exists; name another output, or remove it, or let its training go on (--resume)"
        )
    for each in (folder, folder / "checkpoints"):
        if each.exists() and not each.is_dir():
            raise TrainingError(
                f"{each} is no folder, and checkpoints go there; remove it, or name another output"
            )
    if not resume:
        check_not_begun(folder)
    elif output.exists() and not _steps(folder):
        raise TrainingError(
            f"{output} exists, and there is no {folder} with checkpoints of a training to go on with; name another output"
        )
    return output


def _steps(folder: Path) -> list[int]:
    """Of the checkpoints of a training's folder."""
    if not folder.is_dir():
        return []
    from .checkpoints import Checkpoints  # Takes torch, which a first training need not wait for here.

    return Checkpoints(folder / "checkpoints", keep=1).steps()


def _check_above(output: Path) -> Path:
    """The nearest folder that is there."""
    for above in output.absolute().parents:
        try:
            above.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise TrainingError(
                f"{above} cannot be written to: {error.strerror}; name another output"
            ) from None
        if not above.is_dir() or not os.access(above, os.W_OK):
            break
        return above
    raise TrainingError(f"{above} cannot be written to; name another output")


def _check_name(above: Path, path: Path) -> None:
    """Each part of it is looked for in a folder that is there: a system says nothing of names in one that is not."""
    for part in path.absolute().relative_to(above).parts:
        try:
            (above / part).lstat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise TrainingError(f"{path} cannot be written: {error.strerror}; name another output") from None
