"""Signs in a prompt that are more than words to some extension, as `(word:1.2)` is.

An extension says in its `reads` which ones it reads. Where none in use does, the text encoder takes them as words; a
run says so once, with who reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)"
_WEIGHT = rf"(?:[^\s\d(:]:{_NUMBER}|\d:[-+]?\d*\.\d+)"
"""`:1.2` behind a word; a whole number behind a number is a time or a ratio, `16:9`."""
_BETWEEN_WORDS = r"(?<![A-Z]\s)(?<!\S)\b{}\b(?!\s+[A-Z]+\b)"
"""A word in capitals, but not in a text in capitals, `FISH AND CHIPS`."""


@dataclass(frozen=True)
class PromptMark:
    """A kind of sign, and how it is found without taking ordinary text for it."""

    name: str
    """What people call it, `a weight`."""
    pattern: str
    """A regular expression for one such sign. Ordinary text, such as plain brackets, must not match."""
    distribution: str = ""
    """Which distribution reads it, for those who have none that does."""

    def find(self, texts: Iterable[str]) -> str | None:
        """The first such sign."""
        found = (re.search(self.pattern, text) for text in texts)
        return next((match[0].strip() for match in found if match), None)


WEIGHT = PromptMark("a weight", rf"(?<!\\)\([^()]*{_WEIGHT}\)", "mezzotint-conditioning")
EDIT = PromptMark(
    "prompt editing",
    rf"(?<!\\)\[(?:[^\[\]]*(?:::{_NUMBER}|{_WEIGHT})|[^\[\]|]+(?:\|[^\[\]|]*)+)\]",
    "mezzotint-conditioning",
)
CHUNK = PromptMark("a break between chunks", _BETWEEN_WORDS.format("BREAK"), "mezzotint-conditioning")
LORA_TAG = PromptMark("a LoRA tag", r"(?i:<(?:lora|lyco):[^<>]+>)", "mezzotint-lora")
COMPOSITION = PromptMark("prompts composed with AND", _BETWEEN_WORDS.format("AND"))
WELL_KNOWN = (WEIGHT, EDIT, CHUNK, LORA_TAG, COMPOSITION)
"""What prompts from web UIs have in them."""
