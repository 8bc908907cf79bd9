"""Where a training writes, checked before anything is loaded: hours later is too late to be told."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import TrainingError

FILE = ".safetensors"


def check_output(output: Path | str, what: str, *, suffix: str = FILE, resume: bool = False) -> Path:
    """The path of what a training is to write.

    Args:
        output: as it was given.
        what: how errors call it, `a LoRA`.
        suffix: that the file must have; empty for a folder.
        resume: whether it may be there, as a training that goes on writes it again.

    Raises:
        TrainingError: another suffix, it exists, or nothing can be written there.
    """
    output = Path(output)
    if suffix and output.suffix != suffix:
        raise TrainingError(f"{output}: {what} is a {suffix} file")
    if not suffix and output.suffix == FILE:
        raise TrainingError(f"{output}: {what} is a folder, not a {FILE} file")
    if output.exists() and not resume:
        raise TrainingError(f"{output} exists; name another output, or remove it")
    above = next(folder for folder in output.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise TrainingError(f"{above} cannot be written to; name another output")
    return output
