"""The extension `emoji-names`: an emoji in a prompt is what its name says."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from mezzotint import Extension, PromptMark, hookimpl

if TYPE_CHECKING:
    from mezzotint import Request

EMOJI = PromptMark(
    "an emoji",
    r"[\u231a-\u231b\u23e9-\u23fa\u25fd-\u25fe\u2600-\u27bf\u2b1b-\u2b1c\u2b50\u2b55\U0001f000-\U0001faff]",
    "mezzotint-emoji",
)
_SKIN_TONE = re.compile("[\U0001f3fb-\U0001f3ff]")
_EDGE = "\x1f"
"""Put on both sides of a name until the words beside it are known."""


class EmojiNames(Extension, name="emoji-names"):
    """Read emoji in prompts as their names: `flat icon of 🍕` as `flat icon of pizza`; `🐶🐱` is `dog face and cat face`.

    Names are those of Unicode's CLDR, as the `emoji` package has them; skin tones are left out. The embedded model has
    learned the names that emojibase takes from there.
    """

    reads = (EMOJI,)

    @hookimpl
    def request(self, request: Request) -> Request | None:
        """Put names into prompts and negative prompts."""
        prompts, negatives = (tuple(map(spell_out, texts)) for texts in (request.prompts, request.negatives))
        if (prompts, negatives) == (request.prompts, request.negatives):
            return None
        return replace(request, prompts=prompts, negatives=negatives)


def spell_out(text: str) -> str:
    """`text` with names for emoji, apart from the words beside them, and `and` between neighbours."""
    from emoji import replace_emoji

    def name(_: str, data: dict[str, str]) -> str:
        return _EDGE + data["en"].strip(":").replace("_", " ") + _EDGE

    named = replace_emoji(_SKIN_TONE.sub("", text), name)
    joined = re.sub(rf"{_EDGE}\s*{_EDGE}", " and ", named)
    return re.sub(rf"(?<=\w){_EDGE}(?=\w)", " ", joined).replace(_EDGE, "")
