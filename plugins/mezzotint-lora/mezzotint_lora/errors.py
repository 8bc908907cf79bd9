"""What goes wrong with LoRA files, each as one sentence for the person who opened one."""

from __future__ import annotations

from mezzotint import MezzotintError

from .printable import printable


class LoRAError(MezzotintError):
    """A LoRA file is unsafe, damaged, of an unknown layout, or does not fit the model."""

    def __init__(self, sentence: str) -> None:
        # It may quote names and words of the file.
        super().__init__(printable(sentence))
