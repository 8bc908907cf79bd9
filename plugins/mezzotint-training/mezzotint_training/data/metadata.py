"""`metadata.jsonl` or `metadata.csv` in a folder of pictures, as the Hub's image folders have it."""

from __future__ import annotations

import csv
import os.path
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ..errors import DataError
from .text_files import check_characters, parse_json, read_lines, read_text

FILES = ("metadata.jsonl", "metadata.csv")
_COLUMNS = {
    "captions": ("text", "caption", "captions", "prompt"),
    "mask": ("mask", "mask_file_name"),
    "conditioning": ("conditioning", "conditioning_image", "conditioning_image_file_name"),
}


@dataclass(frozen=True)
class Row:
    """What the file says of a picture."""

    where: str = ""
    """The file and the line."""
    captions: tuple[str, ...] = ()
    mask: Path | None = None
    conditioning: Path | None = None


def read_metadata(folder: Path) -> dict[str, Row]:
    """Rows by the picture's path below the folder; none where there is no such file.

    Raises:
        DataError: both files are there, one is malformed, or a row names a file that is not there or lies elsewhere.
    """
    files = [folder / name for name in FILES if (folder / name).is_file()]
    if not files:
        return {}
    if len(files) > 1:
        raise DataError(f"{folder} has {' and '.join(FILES)}; keep one of them")
    path = files[0]
    lines = _of_csv(path) if path.suffix == ".csv" else _of_jsonl(path)
    rows: dict[str, Row] = {}
    numbers: dict[str, int] = {}
    for number, row in lines:
        where = f"{path}, line {number}"
        name = _inside(row["file_name"], where).as_posix()
        if numbers.setdefault(name, number) != number:
            raise DataError(
                f"{where} names {name}, as line {numbers[name]} does; a picture has one line, and several captions are a list"
            )
        rows[name] = Row(
            where,
            _captions(_column(row, "captions"), where),
            _other(folder, _column(row, "mask"), where),
            _other(folder, _column(row, "conditioning"), where),
        )
    return rows


def _of_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and objects with a `file_name`."""
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        row = parse_json(line, where)
        if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
            raise DataError(f'{where}: every line is an object with a "file_name"')
        yield number, row


def _of_csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and rows with a `file_name`; an empty cell is as if it were not there."""
    rows = csv.reader(StringIO(read_text(path), newline=""), strict=True)
    try:
        columns = next(rows, [])
        if "file_name" not in columns:
            raise DataError(f"{path}: its first line names the columns, of which one is file_name")
        for cells in filter(None, rows):
            where = f"{path}, line {rows.line_num}"
            if len(cells) > len(columns):
                raise DataError(f'{where} has more cells than there are columns; put text with commas in "…"')
            row = {name: cell for name, cell in zip(columns, cells, strict=False) if cell}
            if "file_name" not in row:
                raise DataError(f"{where}: every line has a file_name")
            yield rows.line_num, row
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num} is not CSV: {error}") from None


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
