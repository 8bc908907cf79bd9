"""`metadata.jsonl` or `metadata.csv` in a folder of pictures, as the Hub's image folders have it."""

from __future__ import annotations

import csv
import os.path
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from itertools import zip_longest
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
    columns: tuple[str, ...] = ()
    """All that the file has for it, known or not."""


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
    is_csv = path.suffix == ".csv"
    lines = _of_csv(path) if is_csv else _of_jsonl(path)
    rows: dict[str, Row] = {}
    numbers: dict[str, int] = {}
    for number, row in lines:
        where = f"{path}, line {number}"
        name = _inside(row["file_name"], where).as_posix()
        if numbers.setdefault(name, number) != number:
            several = (
                "row; several captions of one are a list in metadata.jsonl"
                if is_csv
                else "line, and several captions are a list"
            )
            raise DataError(
                f"{where} names {name}, as line {numbers[name]} does; a picture has one {several}"
            )
        rows[name] = Row(
            where,
            _captions(_column(row, "captions"), where),
            _other(folder, _column(row, "mask"), where),
            _other(folder, _column(row, "conditioning"), where),
            tuple(row),
        )
    return rows


def columns_without_caption(picture: Path) -> str:
    """What an error may add about a picture without a caption: the columns that its metadata has in place of one.

    Nothing where no metadata names it, where that has a column of captions, which is empty, or `file_name` alone.
    """
    folder = next((each for each in picture.parents if any((each / name).is_file() for name in FILES)), None)
    if folder is None:
        return ""
    try:
        row = read_metadata(folder).get(picture.relative_to(folder).as_posix(), Row())
    except DataError:  # Of a file further up, which nobody meant.
        return ""
    if len(row.columns) < 2 or set(_COLUMNS["captions"]) & set(row.columns):
        return ""
    seen = ", ".join([name[:40] for name in row.columns if name][:20])
    return f"{row.where} has {seen}, and captions are read from {', '.join(_COLUMNS['captions'])}"


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
    """Line numbers and rows with a `file_name`; an empty cell is `None`, and blanks around cells are no part of them."""
    text = read_text(path)
    rows = _cells(text, path)
    _, columns = next(rows, (0, []))
    if "file_name" not in columns:
        first = next(filter(str.strip, text.splitlines()), "")
        raise DataError(
            f"{path}: its first line names the columns, of which one is file_name, with commas between them; it is "
            f"{first[:80]!a}"
        )
    twice = next((name for name in columns if name and columns.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: its first line names {twice} twice; keep one of the two columns")
    for number, cells in rows:
        where = f"{path}, line {number}"
        if len(cells) > len(columns):
            raise DataError(f'{where} has more cells than there are columns; put text with commas in "…"')
        row = {name: cell or None for name, cell in zip_longest(columns, cells, fillvalue="")}
        if row["file_name"] is None:
            raise DataError(f"{where}: every line has a file_name")
        yield number, row


def _cells(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and cells, without empty ones at the end, of lines that have any."""
    rows = csv.reader(StringIO(text, newline=""), strict=True, skipinitialspace=True)
    while True:
        # The limit is the whole process's, so it is another for the time of a row alone.
        before = csv.field_size_limit(max(len(text), csv.field_size_limit()))
        try:
            cells = [cell.strip() for cell in next(rows)]
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{path}, line {rows.line_num} is not CSV: {error}") from None
        finally:
            csv.field_size_limit(before)
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            yield rows.line_num, cells


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
