"""The value of an extension's option, `x.safetensors,weight=0.8`, taken apart."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from ..errors import RequestError, suggest

_KEY = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)=")
_CLOSING = {"[": "]", "{": "}", "(": ")"}
_QUOTES = "'\""


def parse_value(name: str, text: str, fields: Collection[str]) -> tuple[list[Any], dict[str, Any]]:
    """Values by position, then `key=value`, with commas between.

    A value may stand in quotes; commas inside quotes and brackets do not separate. `[…]` is a list.

    Args:
        name: of the extension, for errors.
        fields: its options.

    Raises:
        RequestError: an option that there is not or twice, a value by position after one by name, or a
            quote or bracket left open.
    """
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for part in split(name, text):
        match = _KEY.match(part)
        field = match[1].replace("-", "_") if match else ""
        if match is None:
            if named:
                raise RequestError(
                    f"--{name} {text}: {part!r} has no name, but follows {list(named)[-1]}=…; say which"
                )
            positional.append(convert(part))
            continue
        if field not in fields:
            raise RequestError(
                f"--{name} {text}: no option {match[1]!r}; {suggest(field, fields)}{_quote_hint(part)}"
            )
        if field in named:
            raise RequestError(f"--{name} {text}: option {field!r} is there twice")
        named[field] = convert(part[match.end() :].strip())
    return positional, named


def split(name: str, text: str) -> list[str]:
    """The parts between commas, stripped.

    Raises:
        RequestError: a quote or bracket is left open.
    """
    parts = [""]
    quote = ""
    closing: list[str] = []
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES and (closing or parts[-1].strip() == "" or parts[-1].rstrip().endswith("=")):
            # A quote inside a word, as in it's.safetensors, is part of the word.
            quote = letter
        elif letter in _CLOSING:
            closing.append(_CLOSING[letter])
        elif closing and letter == closing[-1]:
            closing.pop()
        elif letter == "," and not closing:
            parts.append("")
            continue
        parts[-1] += letter
    if quote or closing:
        raise RequestError(f"--{name} {text}: {quote or closing[-1]} is missing at the end")
    stripped = [part.strip() for part in parts]
    return [] if stripped == [""] else stripped


def convert(text: str) -> Any:
    """Without its quotes; a list or object from JSON, or `[a, b]` as a list of words; else the text itself."""
    if len(text) >= 2 and text[0] in _QUOTES and text[-1] == text[0]:
        return text[1:-1]
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            if text[0] == "[" and text[-1] == "]":
                return [convert(part) for part in split("", text[1:-1])]
    return text


def as_list(name: str, value: Any) -> Any:
    """`a,b` as a list of words, for an option that takes one; a value that is a list already stays."""
    return [convert(part) for part in split(name, value)] if isinstance(value, str) else value


def _quote_hint(part: str) -> str:
    return f" (if it is a file name, quote it: '\"{part}\"')" if "." in part or "/" in part else ""
