"""A tokenizer that knows further words, each of one or several tokens; the tokenizer itself stays as it is."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from mezzotint.errors import RequestError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def names_of(token: str, count: int) -> list[str]:
    """`<cat>`, `<cat>_1`, …: what diffusers calls the tokens of one word."""
    return [token, *(f"{token}_{i}" for i in range(1, count))]


def with_word(tokenizer: PreTrainedTokenizerBase, token: str, count: int) -> tuple[Any, list[int]]:
    """A copy of a tokenizer in which `token` is `count` new tokens in a row, and their ids.

    A word of letters is found where it stands alone, anything else (`<cat>`) everywhere; case counts.

    Raises:
        RequestError: the tokenizer has that word already, or it is empty or has blanks.
    """
    from transformers import AddedToken

    if not token or re.search(r"\s", token):
        raise RequestError(f"a textual inversion's token is one word without blanks, not {token!r}")
    names = names_of(token, count)
    known = [
        name for name in names if name in tokenizer.get_vocab() or f"{name}</w>" in tokenizer.get_vocab()
    ]
    if known:
        raise RequestError(
            f"the tokenizer has the word {known[0]!r} already; give another with token=, such as token={_another(token)!r}"
        )
    copied: Any = copy.deepcopy(tokenizer)
    alone = bool(re.fullmatch(r"\w(.*\w)?", token))
    copied.add_tokens([AddedToken(name, single_word=alone, normalized=False) for name in names])
    if count > 1:
        _expand(copied, token, " ".join(names), alone)
    return copied, copied.convert_tokens_to_ids(names)


class _Expanding:
    """Writes each word out as its tokens before a text is split."""

    expansions: tuple[tuple[re.Pattern[str], str], ...] = ()

    def _encode_plus(self, text: Any, *args: Any, **options: Any) -> Any:
        return super()._encode_plus(self._expanded(text), *args, **options)  # type: ignore[misc]

    def _expanded(self, text: Any) -> Any:
        if isinstance(text, list | tuple):
            return [self._expanded(each) for each in text]
        for pattern, replacement in self.expansions:
            text = pattern.sub(lambda _, words=replacement: words, text)
        return text


def _expand(tokenizer: Any, token: str, words: str, alone: bool) -> None:
    cls = type(tokenizer)
    if not isinstance(tokenizer, _Expanding):
        # Of the same name, as transformers looks classes up by it.
        tokenizer.__class__ = type(cls.__name__, (_Expanding, cls), {"__module__": cls.__module__})
    before, after = (r"(?<!\w)", r"(?!\w)") if alone else ("", "")
    pattern = re.compile(before + re.escape(token) + after)
    tokenizer.expansions = (*tokenizer.expansions, (pattern, words))


def _another(token: str) -> str:
    """`<a>` as `<a-2>`, whatever signs are in it."""
    word = re.sub(r"[^\w-]+", "", token)
    return f"<{word}-2>"
