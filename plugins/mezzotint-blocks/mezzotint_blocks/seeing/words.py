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
        "left",
        "right",
        "above",
        "below",
        "behind",
        "next",
        "front",
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
            is there several times gets the tokens of all its places, one that is not there is left out.

    Raises:
        RequestError: a word is so far behind that the text encoder does not read it.
    """
    there = {word: places for word in words if (places := find_word(word, prompt))}
    spans = there if words else _remarkable(prompt)
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


def find_word(word: str, prompt: str) -> list[tuple[int, int]]:
    """Where a word or phrase stands in a prompt, (first character, behind the last) each."""
    # \b would not end a word that ends in a sign.
    return [match.span() for match in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", prompt, re.IGNORECASE)]


def refuse_missing(words: Sequence[str], prompts: Sequence[str]) -> None:
    """A word has to be in one of the prompts at least.

    Raises:
        RequestError: one is in none.
    """
    for word in words:
        if not any(find_word(word, prompt) for prompt in prompts):
            there = ", ".join(dict.fromkeys(match[0] for match in _WORD.finditer(" ".join(prompts))))
            asked = f"prompt {prompts[0]!r} has" if len(prompts) == 1 else "prompts have"
            raise RequestError(f"attention-maps: the {asked} no word {word!r}; there are {there}")


def _remarkable(prompt: str) -> dict[str, list[tuple[int, int]]]:
    spans: dict[str, list[tuple[int, int]]] = {}
    for match in _WORD.finditer(prompt):
        spans.setdefault(match[0].lower(), []).append(match.span())
    kept = {word: places for word, places in spans.items() if word not in UNREMARKABLE}
    return kept or spans
