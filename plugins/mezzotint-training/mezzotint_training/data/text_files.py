"""Text files that come with pictures: UTF-8, with errors that say where."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Any

from mezzotint.strangers_json import parse

from ..errors import DataError

_LINE_END = re.compile(r"\r\n?|\n")
"""What ends a line for an editor; `str.splitlines` also splits at U+2028 and others, which are text in JSON."""


def read_text(path: Path) -> str:
    """The file's text, without a byte order mark.

    Raises:
        DataError: it cannot be read, or is not UTF-8; the line is named.
    """
    try:
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = len((content[: error.start] + b"?").splitlines())
        raise DataError(
            f"{path}, line {line} is not UTF-8 (byte 0x{content[error.start]:02x}: {error.reason}); save it as UTF-8"
        ) from None


def read_lines(path: Path) -> list[str]:
    """Its lines, without their ends; raises as `read_text` does."""
    return _LINE_END.split(read_text(path))


def parse_json(text: str, where: str) -> Any:
    """The value.

    Raises:
        DataError: it is not JSON, or lists and objects in it are nested too deeply to read.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}") from None


def check_characters(text: str, where: str) -> None:
    """Whether every character of a caption is one.

    Raises:
        DataError: there is half a surrogate pair in it, as `"\\ud800"` in JSON and undecodable file names give, or a NUL.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: {text[error.start]!a} in the caption is half of a surrogate pair and no character; correct it"
        ) from None
    if "\0" in text:
        raise DataError(f"{where}: a NUL in the caption is no text; remove it")
