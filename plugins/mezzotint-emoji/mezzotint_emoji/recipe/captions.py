"""Captions: a style phrase, the names of one or two things, how they lie, the background."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from .manifest import Picture
from .scenes import BACKGROUNDS, RELATIONS
from .split import synonym_is_held_out

STYLE_PHRASES = {
    "3d": "3d render",
    "gradient": "glossy icon",
    "flat": "flat icon",
    "noto": "cartoon emoji",
    "blob": "retro emoji",
}
SKIN = re.compile(r": (.* skin tone)$")
NO_STYLE, ARTICLE, TAGS, SYNONYM = 0.2, 0.4, 0.15, 0.12
RARE = 2  # a tag is a name of a concept, not of a class of them, if at most so many concepts have it


def label_of(picture: Picture) -> str:
    """The label in lower case: `waving hand: dark skin tone` as `waving hand with dark skin tone`."""
    return SKIN.sub(r" with \1", picture.label).replace("’", "'").lower()


def with_article(noun: str) -> str:
    """`an owl`, `a cat`; plurals and names that begin with a digit are left as they are."""
    if noun[0].isdigit() or (noun.endswith("s") and not noun.endswith(("ss", "us"))):
        return noun
    vowel = noun[0] in "aeiou" and not noun.startswith(("uni", "eu", "one"))
    return f"an {noun}" if vowel or noun.startswith(("hour", "x-ray")) else f"a {noun}"


def full_caption(picture: Picture) -> str:
    """The caption without chance, such as `3d render of sailboat`."""
    return f"{STYLE_PHRASES[picture.style]} of {label_of(picture)}"


def synonyms(pictures: Sequence[Picture]) -> dict[str, tuple[str, ...]]:
    """Other names of each base code point: tags that few concepts share, and `apple` for `red apple`."""
    concepts = {picture.base: picture for picture in pictures if not picture.skin}
    labels = {base: label_of(picture) for base, picture in concepts.items()}
    last = {base: label.split()[-1] for base, label in labels.items() if " " in label}
    tagged = Counter(tag.lower() for picture in concepts.values() for tag in set(picture.tags))
    ending = Counter(last.values())
    taken = set(labels.values())

    def names(base: str, picture: Picture) -> Iterator[str]:
        if base in last and ending[last[base]] <= RARE and last[base] not in taken:
            yield last[base]
        words = set(re.findall(r"\w+", labels[base]))
        for tag in map(str.lower, picture.tags):
            if len(tag) > 2 and tagged[tag] <= RARE and tag not in words | taken and tag.isascii():
                yield tag

    return {base: tuple(dict.fromkeys(names(base, picture))) for base, picture in concepts.items()}


FRAME = ["a an the and with of small large , background", *STYLE_PHRASES.values(), *BACKGROUNDS, *RELATIONS]
"""What captions say besides names and tags."""


class CaptionWriter:
    """Writes the captions of training; knows the synonyms of every concept that captions may use."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self.pictures = pictures
        self.synonyms = {
            base: tuple(name for name in names if not synonym_is_held_out(name))
            for base, names in synonyms(pictures).items()
        }

    def names(self) -> list[str]:
        """What the captions of training say, apart from tags."""
        labels = [label_of(picture) for picture in self.pictures]
        return [*FRAME, *labels, *(name for names in self.synonyms.values() for name in names)]

    def tags(self) -> list[str]:
        """What they may say behind."""
        return [tag for picture in self.pictures for tag in self.tags_of(picture)]

    def tags_of(self, picture: Picture) -> list[str]:
        """The tags of one picture without held-out names."""
        return [tag for tag in map(str.lower, picture.tags) if not synonym_is_held_out(tag)]

    def name(self, picture: Picture, random: np.random.Generator, article: bool) -> str:
        """The label, or now and then a synonym."""
        others = self.synonyms.get(picture.base, ())
        use_synonym = random.random() < SYNONYM
        noun = str(random.choice(others)) if others and use_synonym else label_of(picture)
        return with_article(noun) if article else noun

    def one(self, picture: Picture, random: np.random.Generator, size: str = "", background: str = "") -> str:
        """`3d render of a small owl, bird, light blue background`."""
        article, tags = random.random(2)
        noun = self.name(picture, random, article=False)
        noun = f"{size} {noun}" if size else noun
        text = self._styled(picture, with_article(noun) if article < ARTICLE else noun, random)
        known = self.tags_of(picture)
        if tags < TAGS and known:
            count = min(len(known), int(random.integers(1, 4)))
            text = ", ".join([text, *map(str, random.choice(known, count, replace=False))])
        return f"{text}, {background} background" if background else text

    def two(
        self,
        first: Picture,
        relation: str,
        second: Picture,
        random: np.random.Generator,
        background: str = "",
    ) -> str:
        """`flat icon of a cat on a chair`."""
        article = random.random() < 2 * ARTICLE
        names = [self.name(picture, random, article) for picture in (first, second)]
        text = self._styled(first, f"{names[0]} {relation} {names[1]}", random)
        return f"{text}, {background} background" if background else text

    def _styled(self, picture: Picture, text: str, random: np.random.Generator) -> str:
        return text if random.random() < NO_STYLE else f"{STYLE_PHRASES[picture.style]} of {text}"


def caption_corpus(pictures: list[Picture]) -> list[str]:
    """Every text that a person might write: what the tokenizer has to cut as CLIP does."""
    return FRAME + [text.lower() for picture in pictures for text in (label_of(picture), *picture.tags)]
