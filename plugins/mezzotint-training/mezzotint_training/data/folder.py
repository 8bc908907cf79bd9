"""A folder of pictures, with captions beside them or in `metadata.jsonl`."""

from __future__ import annotations

import os.path
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..outputs import NOT_FOR_TRAINING
from .images import SUFFIXES
from .item import Item
from .text_files import check_characters, parse_json, read_lines

METADATA = "metadata.jsonl"
CAPTION_SUFFIXES = (".txt", ".caption")
MASK_SUFFIX = ".mask"
"""`cat.mask.png` is the mask of `cat.jpg`."""
_COLUMNS = {
    "captions": ("text", "caption", "captions", "prompt"),
    "mask": ("mask", "mask_file_name"),
    "conditioning": ("conditioning", "conditioning_image", "conditioning_image_file_name"),
}


def read_folder(
    folder: Path, template: Item | None = None, *, caption_suffixes: Iterable[str] = CAPTION_SUFFIXES
) -> list[Item]:
    """Every picture below the folder, in the order of their paths.

    A picture's caption is in `metadata.jsonl` (`{"file_name": …, "text": …}`, text or a list of texts, as the Hub's
    image folders have it; optional columns `mask` and `conditioning_image`), else in a file of the same name with the
    suffix `.txt` or `.caption`. Masks lie beside as `NAME.mask.png`. `conditioning/` and `masks/` are not searched.

    Args:
        template: what else holds for all of them.

    Raises:
        DataError: there is no such folder or no picture in it, or a file is malformed.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give one with pictures in it")
    template = template or Item(folder)
    rows = _rows(folder)
    items = []
    for path in pictures(folder):
        row = rows.pop(path.relative_to(folder).as_posix(), {})
        captions = row.get("captions") or _sidecar(path, tuple(caption_suffixes))
        items.append(
            replace(
                template,
                path=path,
                captions=captions,
                mask=row.get("mask") or _mask_of(path),
                conditioning=row.get("conditioning"),
            )
        )
    if rows:
        raise DataError(f"{folder / METADATA} names {next(iter(rows))}, which is not in the folder")
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


def _rows(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / METADATA
    if not path.is_file():
        return {}
    rows: dict[str, dict[str, Any]] = {}
    numbers: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        row = parse_json(line, where)
        if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
            raise DataError(f'{where}: every line is an object with a "file_name"')
        name = _inside(row["file_name"], where).as_posix()
        if numbers.setdefault(name, number) != number:
            raise DataError(
                f"{where} names {name}, as line {numbers[name]} does; a picture has one line, and several captions are a list"
            )
        rows[name] = {
            "captions": _captions(_column(row, "captions"), where),
            "mask": _other(folder, _column(row, "mask"), where),
            "conditioning": _other(folder, _column(row, "conditioning"), where),
        }
    return rows


def _column(row: dict[str, Any], kind: str) -> Any:
    return next((row[name] for name in _COLUMNS[kind] if row.get(name) is not None), None)


def _captions(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    captions = [value] if isinstance(value, str) else value
    if not isinstance(captions, list) or not all(isinstance(each, str) for each in captions):
        raise DataError(f"{where}: the caption is a text or a list of texts, not {value!r}")
    for caption in captions:
        check_characters(caption, where)
    return tuple(captions)


def _other(folder: Path, value: Any, where: str) -> Path | None:
    if value is None:
        return None
    path = folder / _inside(str(value), where)
    if not os.path.isfile(path):  # Path.is_file raises where a name is too long.
        raise DataError(f"{where} names {value}, which is not there")
    return path


def _inside(name: str, where: str) -> Path:
    """A path in the folder: a data set that was downloaded must not name files elsewhere.

    Links are not followed: in the Hugging Face cache every file is one, to a folder beside.
    """
    path = Path(name)
    if path.anchor or ".." in path.parts:
        raise DataError(f"{where} names {name}, which lies outside the folder")
    return path
