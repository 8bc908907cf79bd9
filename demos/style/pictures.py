"""Twemoji's drawings: which 200 are trained on, under what captions, and which are kept to measure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from mezzotint_emoji.recipe.captions import STYLE_PHRASES, label_of, with_article
from mezzotint_emoji.recipe.manifest import Picture, code_points
from mezzotint_emoji.recipe.render import on_background, render
from mezzotint_emoji.recipe.sources import Source, fetch
from PIL import Image

from ..emoji import Emoji

TWEMOJI = Source(
    "npm",
    "@iconify-json/twemoji",
    "1.2.5",
    "iconify-json-twemoji-1.2.5.tgz",
    "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
    "CC-BY-4.0",
    "Twitter, Inc. and other contributors",
)
TRAINED = 200
TRIGGER = "twemoji"
"""Behind the name, where the base's captions have tags. CLIP's encoder is causal, so an unknown word there leaves the
embeddings of all words before it as they are; in front, it makes the base forget what it was asked for."""
STYLE = "flat"
PHRASE = STYLE_PHRASES[STYLE]
"""The base's own style that is nearest to Twemoji's, which the training starts from."""


@dataclass(frozen=True)
class Twemoji:
    """The set, fetched when it is first asked for; only what the base model knows from sets of its own."""

    emoji: Emoji
    packages: Path

    @cached_property
    def known(self) -> list[Picture]:
        """In an order that says nothing about what they show.

        Raises:
            RecipeError: the package cannot be fetched, or is not the one of the pin.
        """
        package = fetch(TWEMOJI, self.packages)
        icons = {
            code_points(key): icon for key, icon in json.loads((package / "chars.json").read_text()).items()
        }
        pictures = [
            replace(
                picture, style="twemoji", license=TWEMOJI.license, archive=TWEMOJI.folder, name=icons[base]
            )
            for base, picture in self.emoji.concepts.items()
            if base in icons
        ]
        return sorted(
            pictures, key=lambda picture: hashlib.sha256(f"style {picture.base}".encode()).hexdigest()
        )

    @property
    def trained(self) -> list[Picture]:
        """The 200."""
        return self.known[:TRAINED]

    @property
    def held_out(self) -> list[Picture]:
        """All others."""
        return self.known[TRAINED:]

    @cached_property
    def comparable(self) -> list[Picture]:
        """Those held out of which the base was trained on a drawing in its own style, where it is at its best."""
        often = {picture.base for picture in self.emoji.data.drawn_often().pictures if picture.style == STYLE}
        return [picture for picture in self.held_out if picture.base in often]

    def measured(self, count: int) -> list[Picture]:
        """The last of them; the settings were chosen by looking at those before."""
        return self.comparable[-count:]

    def pixels(self, pictures: list[Picture]) -> np.ndarray:
        """(n, 64, 64, 3) uint8, on white with a margin, as the base model was trained."""
        return on_background(self.drawings(pictures))

    def drawings(self, pictures: list[Picture]) -> np.ndarray:
        """(n, 64, 64, 4) uint8, transparent where nothing is."""
        return np.stack([render(picture, self.packages / "unpacked") for picture in pictures])


def captions(picture: Picture) -> tuple[str, ...]:
    """`flat icon of cat, twemoji`, and the same with an article if there is one."""
    label = label_of(picture)
    return tuple(dict.fromkeys(f"{PHRASE} of {noun}, {TRIGGER}" for noun in (label, with_article(label))))


def in_own_style(picture: Picture) -> str:
    """What the base is asked for without the LoRA: `flat icon of cat`."""
    return f"{PHRASE} of {label_of(picture)}"


def write_pictures(twemoji: Twemoji, folder: Path) -> Path:
    """The 200 with their captions in `metadata.jsonl`, with and without article, as any folder to train on."""
    return _write(folder, twemoji.trained, twemoji.pixels(twemoji.trained), captions)


def write_prior(twemoji: Twemoji, measured: Collection[Picture], folder: Path) -> Path:
    """What the model's own style is, under captions without the trigger: drawings of all concepts but those measured."""
    hidden = {picture.base for picture in measured}
    own = twemoji.emoji.data.drawn_often().where(
        lambda picture: picture.style == STYLE and not picture.skin and picture.base not in hidden
    )
    return _write(folder, own.pictures, on_background(own.pixels), lambda picture: (in_own_style(picture),))


def _write(
    folder: Path,
    pictures: Sequence[Picture],
    pixels: np.ndarray,
    captions_of: Callable[[Picture], tuple[str, ...]],
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for picture, shown in zip(pictures, pixels, strict=True):
        name = f"{picture.base}.png"
        Image.fromarray(shown).save(folder / name)
        rows.append(json.dumps({"file_name": name, "text": captions_of(picture)}))
    (folder / "metadata.jsonl").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return folder
