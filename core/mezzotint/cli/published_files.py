"""What extensions published, as files beside the pictures: PIL images and `TextFile`s; other values stay in Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..hooks.text_file import TextFile
from .output_names import numbered, save_under_free_name, slug

if TYPE_CHECKING:
    from PIL.Image import Image


def save_published(
    outputs: Mapping[str, Mapping[str, Any]], index: int, count: int, path: Path
) -> list[Path]:
    """Write the images and texts that go with image `index` of a run of `count`, saved as `path`.

    A list with one entry for each image of the run is taken apart; what belongs to the run as a whole goes with
    its first image. Names are the picture's, the extension's label and the keys: `ghost-7.attention-maps.ghost.png`.
    Nothing that exists is overwritten.
    """
    saved = []
    for label, values in outputs.items():
        for value in values.values():
            for keys, file in _files(value, index, count):
                stem = ".".join([path.stem, *(slug(part) for part in (label, *keys))])
                saved.append(_save(file, path, stem))
    return saved


def _save(file: Image | TextFile, path: Path, stem: str) -> Path:
    if not isinstance(file, TextFile):
        return save_under_free_name(file, None, path.with_name(f"{stem}.png"))
    for candidate in numbered(path.with_name(f"{stem}{file.suffix}")):
        try:
            with candidate.open("x", encoding="utf-8") as opened:
                opened.write(file.text)
        except FileExistsError:
            continue
        return candidate
    raise AssertionError("unreachable: numbers do not end")


def _files(value: Any, index: int, count: int) -> Iterator[tuple[tuple[str, ...], Image | TextFile]]:
    """The files in a published value that belong to one image, each with the keys that lead to it."""
    if isinstance(value, list | tuple) and len(value) == count and _has_files(value):
        yield from _leaves(value[index])
    elif index == 0:
        yield from _leaves(value)


def _leaves(value: Any) -> Iterator[tuple[tuple[str, ...], Image | TextFile]]:
    from PIL.Image import Image

    if isinstance(value, Image | TextFile):
        yield (), value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from (((str(key), *keys), leaf) for keys, leaf in _leaves(item))
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for number, item in enumerate(value, 1):
            yield from (((str(number), *keys), leaf) for keys, leaf in _leaves(item))


def _has_files(value: Any) -> bool:
    return next(_leaves(value), None) is not None
