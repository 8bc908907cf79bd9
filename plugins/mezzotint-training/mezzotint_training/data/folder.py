"""A folder of pictures, with captions beside them or in `metadata.jsonl` or `metadata.csv`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import DataError
from ..outputs import NOT_FOR_TRAINING
from .images import SUFFIXES
from .item import Item
from .metadata import Row, read_metadata
from .text_files import read_lines

CAPTION_SUFFIXES = (".txt", ".caption")
MASK_SUFFIX = ".mask"
"""`cat.mask.png` is the mask of `cat.jpg`."""
_KOHYA_FOLDER = re.compile(r"(\d+)_.")
"""`10_sks dog`: repeats, and words that caption pictures without a caption."""


def read_folder(
    folder: Path, template: Item | None = None, *, caption_suffixes: Iterable[str] = CAPTION_SUFFIXES
) -> list[Item]:
    """Every picture below the folder, in the order of their paths.

    A picture's caption is in `metadata.jsonl` (`{"file_name": …, "text": …}`, text or a list of texts, as the Hub's
    image folders have it; optional columns `mask` and `conditioning_image`) or in `metadata.csv` with such columns, else
    in a file of the same name with the suffix `.txt` or `.caption`. Masks lie beside as `NAME.mask.png`. `conditioning/`
    and `masks/` are not searched.

    Args:
        template: what else holds for all of them.

    Raises:
        DataError: there is no such folder or no picture in it, its pictures lie in kohya's folders, or a file is malformed.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give one with pictures in it")
    template = template or Item(folder)
    rows = read_metadata(folder)
    found = pictures(folder)
    if not rows:
        _refuse_kohyas_folders(folder, found)
    items = []
    for path in found:
        row = rows.pop(path.relative_to(folder).as_posix(), Row())
        captions = row.captions or _sidecar(path, tuple(caption_suffixes))
        items.append(
            replace(
                template,
                path=path,
                captions=captions,
                mask=row.mask or _mask_of(path),
                conditioning=row.conditioning,
            )
        )
    if rows:
        name, row = next(iter(rows.items()))
        raise DataError(f"{row.where} names {name}, which is not in the folder")
    if not items:
        raise DataError(f"{folder} has no pictures in it; there may be {', '.join(SUFFIXES[:4])}, …")
    return items


def pictures(folder: Path) -> list[Path]:
    """Files that are pictures by their suffix, without masks, hidden files, folders of maps and a training's samples."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not path.stem.endswith(MASK_SUFFIX)
        and not any(
            part.startswith(".") or part in ("conditioning", "masks")
            for part in path.relative_to(folder).parts
        )
        and not any(
            (folder / each / NOT_FOR_TRAINING).exists() for each in path.relative_to(folder).parents[:-1]
        )
    )


def _refuse_kohyas_folders(folder: Path, found: Sequence[Path]) -> None:
    """Repeats in the names of folders would be read over in silence.

    Raises:
        DataError: every picture lies in a folder of that form.
    """
    names = [path.relative_to(folder).parts[0] for path in found if path.parent != folder]
    repeats = _KOHYA_FOLDER.match(names[0]) if names else None
    if repeats and len(names) == len(found) and all(map(_KOHYA_FOLDER.match, names)):
        raise DataError(
            f"{folder} holds kohya's folders, such as {names[0]}, whose names are not read; give one of them, or a TOML file "
            f'of kohya\'s with a subset for each (image_dir = "{names[0]}", num_repeats = {int(repeats[1])})'
        )


def words_of(path: Path) -> str:
    """The words of a file's name: `red-apple_02.png` as `red apple 02`."""
    return " ".join(path.stem.replace("-", " ").replace("_", " ").split())


def same_name_in(folder: Path, path: Path) -> Path | None:
    """The picture in another folder whose name, without suffix, is the same."""
    found = [folder / f"{path.stem}{suffix}" for suffix in SUFFIXES]
    return next((each for each in found if each.is_file()), None)


def _sidecar(path: Path, suffixes: tuple[str, ...]) -> tuple[str, ...]:
    for suffix in suffixes:
        beside = path.with_suffix(suffix)
        if beside.is_file():
            lines = (" ".join(line.split()) for line in read_lines(beside))
            return (next(filter(None, lines), ""),)
    return ()


def _mask_of(path: Path) -> Path | None:
    return next(
        (
            mask
            for suffix in SUFFIXES
            if (mask := path.with_name(f"{path.stem}{MASK_SUFFIX}{suffix}")).is_file()
        ),
        None,
    )
