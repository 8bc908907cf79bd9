"""Captions: a style phrase and a label, sometimes with a few tags, sometimes empty for guidance."""

import re

import numpy as np

from .manifest import Picture

STYLE_PHRASES = {
    "3d": "3d render",
    "gradient": "glossy icon",
    "flat": "flat icon",
    "noto": "cartoon emoji",
    "blob": "retro emoji",
    "fx": "simple emoji",
}
SKIN = re.compile(r": (.* skin tone)$")
EMPTY, NO_STYLE, ARTICLE, TAGS = 0.10, 0.15, 0.3, 0.15


def label_of(picture: Picture) -> str:
    """The label in lower case: `waving hand: dark skin tone` as `waving hand with dark skin tone`."""
    return SKIN.sub(r" with \1", picture.label).replace("’", "'").lower()


def full_caption(picture: Picture) -> str:
    """The caption without chance, such as `3d render of sailboat`."""
    return f"{STYLE_PHRASES[picture.style]} of {label_of(picture)}"


def draw_caption(picture: Picture, random: np.random.Generator) -> str:
    """One caption of the mix that the model is trained on."""
    empty, style, article, tags = random.random(4)
    if empty < EMPTY:
        return ""
    caption = f"a {label_of(picture)}" if article < ARTICLE else label_of(picture)
    if style >= NO_STYLE:
        caption = f"{STYLE_PHRASES[picture.style]} of {caption}"
    if tags < TAGS and picture.tags:
        count = min(len(picture.tags), int(random.integers(1, 4)))
        caption = ", ".join([caption, *random.choice(picture.tags, count, replace=False)])
    return caption


def caption_corpus(pictures: list[Picture]) -> list[str]:
    """Every text that can occur in a caption: what the tokenizer has to cut as CLIP does."""
    extra = ["a an the and with on in of small large background", *STYLE_PHRASES.values()]
    return extra + [text.lower() for picture in pictures for text in (label_of(picture), *picture.tags)]
