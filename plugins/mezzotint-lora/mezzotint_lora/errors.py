"""What goes wrong with LoRA files, each as one sentence for the person who opened one."""

from __future__ import annotations

import os.path
from pathlib import Path

from mezzotint import MezzotintError

from .printable import printable


class LoRAError(MezzotintError):
    """A LoRA file is unsafe, damaged, of an unknown layout, or does not fit the model."""

    def __init__(self, sentence: str) -> None:
        # It may quote names and words of the file.
        super().__init__(printable(sentence))


def no_such_file(path: Path) -> LoRAError:
    """That a LoRA is not where it was said to be, and the file of its name beside it or in the current folder."""
    named = (
        (path.with_name(f"{path.name}.safetensors"), path.with_suffix(".safetensors")) if path.name else ()
    )
    near = (*named, *(Path(each.name) for each in (path, *named)))
    found = next((each for each in near if each != path and os.path.isfile(each)), None)
    return LoRAError(
        f"{path}: there is no such LoRA file{'' if found is None else f'; did you mean {found}?'}"
    )
