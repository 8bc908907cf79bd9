"""A caption, varied as kohya's trainers vary it."""

from __future__ import annotations

import numpy as np

from .item import Captioning


def vary(captions: tuple[str, ...], how: Captioning, random: np.random.Generator) -> str:
    """Draw one of the captions and change it.

    In kohya's order: prefix and suffix; dropped as a whole; then, if shuffled or thinned, split at the separator, the
    first `keep_tokens` parts kept, the rest dropped one by one and shuffled, and joined with the separator and a blank.
    """
    # Every number is drawn whether it is used or not, so that one option does not change what another draws.
    which, drop = random.random(2)
    caption = captions[int(which * len(captions))] if captions else ""
    caption = " ".join(part for part in (how.prefix, caption, how.suffix) if part)
    if drop < how.dropout:
        return ""
    if not (how.shuffle or how.tag_dropout):
        return caption
    parts = parts_of(caption, how.separator)
    fixed, loose = parts[: how.keep_tokens], parts[how.keep_tokens :]
    keys = random.random((len(loose), 2))
    kept = [(key, part) for (key, chance), part in zip(keys, loose, strict=True) if chance >= how.tag_dropout]
    if how.shuffle:
        kept.sort(key=lambda pair: pair[0])
    return f"{how.separator} ".join([*fixed, *(part for _, part in kept)])


def parts_of(caption: str, separator: str) -> list[str]:
    """What stands between separators, without blanks around it."""
    return [part for part in (part.strip() for part in caption.split(separator)) if part]


def possible(captions: tuple[str, ...], how: Captioning) -> tuple[str, ...] | None:
    """Every caption that `vary` can give, or `None` where there are too many to list."""
    if how.shuffle or how.tag_dropout:
        return None
    whole = tuple(
        " ".join(part for part in (how.prefix, each, how.suffix) if part) for each in captions or ("",)
    )
    return (*whole, "") if how.dropout else whole


def tag_frequency(captions: list[str], separator: str) -> dict[str, int]:
    """How many captions have a part, for kohya's `ss_tag_frequency`."""
    counts: dict[str, int] = {}
    for caption in captions:
        for tag in parts_of(caption, separator):
            counts[tag] = counts.get(tag, 0) + 1
    return counts
