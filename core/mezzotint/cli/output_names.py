"""Where images go: names from the prompt and the seed, and never over a file that exists."""

from __future__ import annotations

import os
import re
import string
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RequestError
from ..recipes.image_files import save_png

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT = "{prompt}-{seed}.png"
FIELDS = ("prompt", "seed", "number", "model")
"""What a pattern may contain; `number` counts images from 1."""
MAX_SLUG = 48


@dataclass(frozen=True)
class OutputNames:
    """A folder and a pattern for the names in it."""

    folder: Path
    pattern: str

    @classmethod
    def parse(cls, output: str | None) -> OutputNames:
        """From `--output`: nothing, a folder, a file, or a pattern such as `out/{prompt}-{seed:05d}.png`.

        Raises:
            RequestError: another suffix than .png, or a pattern with unknown fields.
        """
        if output is None:
            return cls(Path(), DEFAULT)
        if "{" in output:
            _check_pattern(output)
            folder, pattern = Path(), output if Path(output).suffix else f"{output}.png"
        elif output.endswith(("/", os.sep)) or Path(output).is_dir() or not Path(output).suffix:
            folder, pattern = Path(output), DEFAULT
        else:
            folder, pattern = Path(output).parent, Path(output).name
        suffix = Path(pattern).suffix
        if suffix.lower() != ".png":
            raise RequestError(
                f"{output}: images are written as .png, which keeps their recipe; not {suffix}"
            )
        return cls(folder, pattern)

    @contextmanager
    def folder_ready(self) -> Iterator[None]:
        """Make the folder before time is spent on images that could not be written; an empty new one goes again.

        Raises:
            RequestError: it cannot be made or written to.
        """
        new = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(
                f"folder {self.folder} cannot be made: {error.strerror}; choose another --output"
            ) from None
        if not os.access(self.folder, os.W_OK):
            raise RequestError(f"folder {self.folder} is not writable; choose another --output")
        try:
            yield
        finally:
            with suppress(OSError):
                for folder in new:
                    folder.rmdir()

    def path(self, *, prompt: str, seed: int, number: int, model: str) -> Path:
        """The name of an image, whether or not it is free."""
        if "{" not in self.pattern:
            return self.folder / self.pattern
        fields = {"prompt": slug(prompt), "seed": seed, "number": number, "model": slug(Path(model).name)}
        return self.folder / self.pattern.format(**fields)


def save_under_free_name(image: Image, recipe: Mapping[str, Any] | None, path: Path) -> Path:
    """Save as `path`, or with the next number where that exists: `ghost-7.png`, `ghost-7-2.png`, …

    Two processes that save under one name at the same time get two names.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for candidate in numbered(path):
        if not os.path.lexists(candidate):
            try:
                return save_png(image, recipe, candidate)
            except FileExistsError:
                continue
    raise AssertionError("unreachable: numbers do not end")


def slug(text: str) -> str:
    """Letters and digits of a text, of any script, with dashes between; cut to `MAX_SLUG` between words."""
    normal = unicodedata.normalize("NFKC", text).lower()
    words = re.findall(r"[^\W_]+", normal)
    kept = ""
    for word in words:
        longer = f"{kept}-{word}" if kept else word[:MAX_SLUG]
        if len(longer) > MAX_SLUG:
            break
        kept = longer
    return kept or "image"


def numbered(path: Path) -> Iterator[Path]:
    """`ghost-7.png`, `ghost-7-2.png`, `ghost-7-3.png`, … without end."""
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1


def _check_pattern(pattern: str) -> None:
    allowed = ", ".join(f"{{{field}}}" for field in FIELDS)
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(pattern) if field is not None]
        unknown = [field for field in fields if field not in FIELDS]
        if not unknown:
            pattern.format(prompt="a", seed=1, number=1, model="a")
    except (ValueError, TypeError, LookupError) as error:
        raise RequestError(f"--output {pattern}: {error}; a pattern may contain {allowed}") from None
    if unknown:
        raise RequestError(f"--output {pattern}: no field {{{unknown[0]}}}; a pattern may contain {allowed}")
