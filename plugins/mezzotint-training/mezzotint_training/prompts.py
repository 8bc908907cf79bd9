"""Prompts to draw while training, in kohya's format: `a red fox --n blurry --w 64 --h 64 --d 7 --l 5 --s 20`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .data.text_files import read_lines
from .errors import DataError


@dataclass(frozen=True)
class SamplePrompt:
    """A prompt and what its line says besides; `None` leaves it to the model."""

    prompt: str
    negative: str | None = None
    width: int | None = None
    height: int | None = None
    seed: int = 0
    guidance: float | None = None
    steps: int | None = None
    control: Path | None = None
    """Control picture, for ControlNets."""

    def size(self, native: tuple[int, int]) -> tuple[int, int]:
        """(width, height); a side that the line does not say is the model's."""
        return self.width or native[0], self.height or native[1]

    def arguments(self, native: tuple[int, int]) -> dict[str, Any]:
        """Of a pipeline's call, for a model of this size."""
        return {
            "negative": self.negative,
            "size": self.size(native),
            "seed": self.seed,
            "guidance": self.guidance,
            "steps": self.steps,
        }


_OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "n": ("negative", str),
    "w": ("width", int),
    "h": ("height", int),
    "d": ("seed", int),
    "l": ("guidance", float),
    "s": ("steps", int),
    "cn": ("control", Path),
}
_OPTION = re.compile(r"\s--(\w+)(?:\s+|$)")


def read_prompts(path: Path) -> list[SamplePrompt]:
    """One prompt a line; empty lines and those that begin with # are left out.

    Raises:
        DataError: there is no such file or no prompt in it, or a line is not UTF-8 or has an unknown option or a
            malformed value.
    """
    prompts = [
        _parse(line.strip(), f"{path}, line {number}")
        for number, line in enumerate(read_lines(path), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not prompts:
        raise DataError(f"{path} has no prompts in it")
    return prompts


def _parse(line: str, where: str) -> SamplePrompt:
    prompt, *rest = _OPTION.split(f" {line} ")
    found: dict[str, Any] = {}
    for name, value in zip(rest[::2], rest[1::2], strict=True):
        if name not in _OPTIONS:
            raise DataError(
                f"{where}: no option --{name}; there are {', '.join(f'--{each}' for each in _OPTIONS)}"
            )
        field, convert = _OPTIONS[name]
        try:
            found[field] = convert(value.strip())
        except ValueError:
            raise DataError(f"{where}: --{name} {value.strip()!r} is no number") from None
    return SamplePrompt(prompt.strip(), **found)
