"""A folder of pictures, with captions beside them or in `metadata.jsonl` or `metadata.csv`."""

from __future__ import annotations

import logging
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
_KOHYA_FOLDER = re.compile("[1-9][0-9]{0,2}_")
"""`10_sks dog`: repeats, and words that caption pictures without a caption. `2023_holiday` is a year."""

logger = logging.getLogger("mezzotint")


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
        DataError: there is no such folder or no picture in it, or a file is malformed.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give one with pictures in it")
    template = template or Item(folder)
    rows = read_metadata(folder)
    found = pictures(folder)
    if not rows:
        _warn_of_kohyas_folders(folder, found)
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


def _warn_of_kohyas_folders(folder: Path, found: Sequence[Path]) -> None:
    """Repeats in the names of folders would be read over in silence."""
    names = [path.relative_to(folder).parts[0] for path in found if path.parent != folder]
    if names and len(names) == len(found) and all(map(_KOHYA_FOLDER.match, names)):
        logger.warning(
            "%s has folders such as %s, and repeats in their names are not read; if they are kohya's, give a TOML file of "
            "kohya's with num_repeats for each",
            folder,
            names[0],
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
