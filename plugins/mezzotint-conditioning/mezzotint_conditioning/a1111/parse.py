r"""From text to a tree: `(word:1.3)`, `[word]`, `[from:to:when]`, `[one|two]`, and `\` before a sign that is text.

The language is that of AUTOMATIC1111's web UI (its wiki, "Attention/emphasis" and "Prompt editing"). Where that
guesses, this refuses: a bracket that is not closed, or a weight that is no number, is an error that says where.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from mezzotint.errors import RequestError

from .tree import ROUND_WEIGHT, SQUARE_WEIGHT, Alternating, Edited, Node, Text, Weighted, When

SIGNS = "()[]:|\\"
"""What `\\` makes text of."""
MAX_DEPTH = 100
_CLOSING = {"(": ")", "[": "]"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")
_LIKE_A_NUMBER = re.compile(r"[+-]?\.?\d[^\s,]*|[+-]?\d*,\d+|[+-]?(nan|inf|infinity)", re.IGNORECASE)


@dataclass(frozen=True)
class _Sign:
    """A colon or bar inside brackets, before it is known what it means."""

    sign: str
    position: int


def parse(text: str) -> tuple[Node, ...]:
    """The tree of a prompt; text without any sign of the syntax is one `Text`, byte for byte.

    Raises:
        RequestError: a bracket is open or closed once too often, a weight or the time of an edit is no number, or
            brackets are nested more than `MAX_DEPTH` deep.
    """
    parser = _Parser(text)
    items = parser.items("", 0)
    return _as_text(items)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    def items(self, opening: str, depth: int) -> list[Node | _Sign]:
        """What stands up to the bracket that closes `opening`, which stays to be read, or to the end."""
        text = self._text
        start = self._position - 1
        found: list[Node | _Sign] = []
        words: list[str] = []

        def flush() -> None:
            if words:
                found.append(Text("".join(words)))
                words.clear()

        while self._position < len(text):
            letter = text[self._position]
            following = text[self._position + 1 : self._position + 2]
            if letter == "\\" and following and following in SIGNS:
                words.append(following)
                self._position += 2
            elif letter in _CLOSING:
                flush()
                self._position += 1
                found.append(self._bracket(letter, depth + 1))
            elif letter in ")]":
                if _CLOSING.get(opening) != letter:
                    raise self._wrong(f"{letter!r} at character {self._position + 1} closes nothing", letter)
                flush()
                return found
            elif letter in ":|" and opening:
                flush()
                found.append(_Sign(letter, self._position))
                self._position += 1
            else:
                words.append(letter)
                self._position += 1
        if opening:
            raise self._wrong(f"{opening!r} at character {start + 1} is never closed", opening)
        flush()
        return found

    def _bracket(self, opening: str, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._wrong(f"brackets are nested more than {MAX_DEPTH} deep", opening)
        items = self.items(opening, depth)
        end = self._position
        self._position += 1
        return self._round(items, end) if opening == "(" else self._square(items, end)

    def _round(self, items: list[Node | _Sign], end: int) -> Node:
        colons = _signs(items, ":")
        weight = self._number_after(colons[-1], end) if colons else None
        if weight is None:
            return Weighted(_as_text(items), ROUND_WEIGHT)
        return Weighted(_as_text(items[: items.index(colons[-1])]), float(weight))

    def _square(self, items: list[Node | _Sign], end: int) -> Node:
        if _signs(items, "|"):
            return Alternating(tuple(_as_text(option) for option in _split(items, "|")))
        colons = _signs(items, ":")
        number = self._number_after(colons[-1], end) if colons else None
        if number is None:
            return Weighted(_as_text(items), SQUARE_WEIGHT)
        if len(colons) > 2:
            raise self._wrong(
                f"[…] at character {end + 1} has {len(colons)} colons; editing is [from:to:when]", ":"
            )
        if number.startswith("-"):
            raise self._wrong(f"{number} is no step at which a prompt could change", ":")
        *parts, _ = _split(items, ":")
        before, after = ((), parts[0]) if len(parts) == 1 else parts
        return Edited(_as_text(before), _as_text(after), When(float(number), "." in number))

    def _number_after(self, colon: _Sign, end: int) -> str | None:
        """What stands after the last colon, if it is a number; text that begins like one is an error."""
        raw = self._text[colon.position + 1 : end].strip()
        if _NUMBER.fullmatch(raw) and math.isfinite(float(raw)):
            return raw
        if raw == "" or _LIKE_A_NUMBER.fullmatch(raw):
            raise self._wrong(f"{raw!r} after the colon at character {colon.position + 1} is no number", ":")
        return None

    def _wrong(self, what: str, sign: str) -> RequestError:
        shown = self._text if len(self._text) <= 60 else f"{self._text[:57]}…"
        return RequestError(f"prompt {shown!r}: {what}; write \\{sign} if it is text")


def _signs(items: list[Node | _Sign], sign: str) -> list[_Sign]:
    return [item for item in items if isinstance(item, _Sign) and item.sign == sign]


def _split(items: list[Node | _Sign], sign: str) -> list[list[Node | _Sign]]:
    parts: list[list[Node | _Sign]] = [[]]
    for item in items:
        if isinstance(item, _Sign) and item.sign == sign:
            parts.append([])
        else:
            parts[-1].append(item)
    return parts


def _as_text(items: list[Node | _Sign] | tuple[()]) -> tuple[Node, ...]:
    """Colons and bars that mean nothing here are text; neighbouring texts are one."""
    nodes: list[Node] = []
    for item in items:
        node = Text(item.sign) if isinstance(item, _Sign) else item
        if isinstance(node, Text) and nodes and isinstance(nodes[-1], Text):
            nodes[-1] = Text(nodes[-1].text + node.text)
        else:
            nodes.append(node)
    return tuple(nodes)
