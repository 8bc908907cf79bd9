"""Which tokens of a prompt belong to which word."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mezzotint.errors import RequestError

UNREMARKABLE = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "on",
        "in",
        "at",
        "to",
        "by",
        "for",
        "from",
        "with",
        "without",
        "and",
        "or",
        "as",
        "is",
        "are",
        "it",
        "its",
        "this",
        "that",
        "these",
        "those",
    ]
)
"""Words that name nothing to look for; left out unless they are asked for."""
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def tokens_of_words(tokenizer: Any, prompt: str, words: Sequence[str] = ()) -> Mapping[str, list[int]]:
    """Positions in the text encoder's input of the tokens of each word, parts of words together.

    Found by the tokenizer's character offsets, so that it does not matter how it splits words.

    Args:
        tokenizer: one that gives offsets (a `CLIPTokenizer`).
        words: words or phrases of the prompt, whatever their case; default: all but the unremarkable ones. One that
            is there several times gets the tokens of all its places.

    Raises:
        RequestError: a word is not in the prompt, or so far behind that the text encoder does not read it.
    """
    spans = {word: _find(word, prompt) for word in words} if words else _remarkable(prompt)
    encoded = tokenizer(
        prompt, truncation=True, max_length=tokenizer.model_max_length, return_offsets_mapping=True
    )
    found = {}
    for word, places in spans.items():
        positions = [
            position
            for position, (first, last) in enumerate(encoded["offset_mapping"])
            if any(first < end and begin < last for begin, end in places)
        ]
        if positions:
            found[word] = positions
        elif words:
            raise RequestError(
                f"attention-maps: {word!r} comes after the {tokenizer.model_max_length} tokens that the text "
                "encoder reads; move it forward in the prompt"
            )
    return found


def _find(word: str, prompt: str) -> list[tuple[int, int]]:
    # \b would not end a word that ends in a sign.
    places = [
        match.span() for match in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", prompt, re.IGNORECASE)
    ]
    if not places:
        there = ", ".join(dict.fromkeys(match[0] for match in _WORD.finditer(prompt)))
        raise RequestError(f"attention-maps: the prompt {prompt!r} has no word {word!r}; it has {there}")
    return places


def _remarkable(prompt: str) -> dict[str, list[tuple[int, int]]]:
    spans: dict[str, list[tuple[int, int]]] = {}
    for match in _WORD.finditer(prompt):
        spans.setdefault(match[0].lower(), []).append(match.span())
    kept = {word: places for word, places in spans.items() if word not in UNREMARKABLE}
    return kept or spans
