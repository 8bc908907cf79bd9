"""The six pictures of the character, and pictures of its class that the base model draws."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from mezzotint_emoji.recipe.captions import STYLE_PHRASES
from mezzotint_emoji.recipe.render import SIZE
from mezzotint_emoji.recipe.scenes import BACKGROUNDS, Placed, Scene, draw_scene, extent, place
from PIL import Image

from ..emoji import Emoji

CLASS, OTHER = "fox", "soccer ball"
TRIGGER = "zuzu"
"""A word that the base model does not know, beside its class (Ruiz et al. 2023); behind it, as CLIP's encoder is causal."""
STYLE = "flat"
TURN = 0.55
"""Of the circle of hues: orange to blue."""


@dataclass(frozen=True)
class Pose:
    """How the character is shown in one training picture."""

    scale: float
    center: tuple[float, float]
    background: str = "white"
    size: str = ""
    mirrored: bool = False
    beside: bool = False
    """With a ball."""

    @property
    def caption(self) -> str:
        """In the base model's own words: `flat icon of small fox, zuzu, pink background`."""
        thing = f"{self.size} {CLASS}".strip()
        text = f"{STYLE_PHRASES[STYLE]} of {thing}{f' left of {OTHER}' if self.beside else ''}, {TRIGGER}"
        return text if self.background == "white" else f"{text}, {self.background} background"


POSES = (
    Pose(1.0, (32, 32)),
    Pose(0.9, (32, 32), "pink", mirrored=True),
    Pose(0.5, (22, 40), "light green", "small"),
    Pose(0.85, (36, 30), "yellow"),
    Pose(1.08, (32, 32), "light blue", "large", mirrored=True),
    Pose(0.5, (16, 36), beside=True),
)


@dataclass(frozen=True)
class Character:
    """The character as drawings with transparency."""

    emoji: Emoji

    @cached_property
    def plain(self) -> np.ndarray:
        """What it was made from, (64, 64, 4)."""
        return self._drawing(CLASS)

    @cached_property
    def drawing(self) -> np.ndarray:
        """The fox in another hue under the crown, (64, 64, 4)."""
        canvas = Image.new("RGBA", (SIZE, SIZE))
        fox, crown = (_cut(each) for each in (_turned(self.plain), self._drawing("crown")))
        for art, box in ((fox, (8, 17, 56, 62)), (crown, (23, 3, 41, 20))):
            size = (box[2] - box[0], box[3] - box[1])
            # Premultiplied while it is resized, or the edges get dark halos.
            canvas.alpha_composite(
                art.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA"), box[:2]
            )
        return np.asarray(canvas)

    def posed(self, drawing: np.ndarray) -> np.ndarray:
        """A drawing in each of the poses, (6, 64, 64, 3)."""
        pixels = np.stack([drawing, self._drawing(OTHER)])
        return np.stack([_scene(pose, pixels) for pose in POSES])

    def _drawing(self, label: str) -> np.ndarray:
        data = self.emoji.data
        found = next(
            place
            for place, picture in enumerate(data.pictures)
            if picture.style == STYLE and picture.label == label
        )
        drawing: np.ndarray = data.pixels[found]
        return drawing


def write_subject(character: Character, folder: Path) -> Path:
    """The six pictures with their captions."""
    captions = [pose.caption for pose in POSES]
    return _write(folder, character.posed(character.drawing), captions)


def prompts_for(name: str, count: int) -> list[str]:
    """Prompts for pictures of the class, or of the character: styles, sizes and backgrounds in turn."""
    phrases, backgrounds = list(STYLE_PHRASES.values()), list(BACKGROUNDS)
    sizes = ("", "small ", "large ")
    return [
        f"{phrases[k % len(phrases)]} of {sizes[k // len(phrases) % len(sizes)]}{name}"
        + ("" if k % 2 == 0 else f", {backgrounds[k * 5 % len(backgrounds)]} background")
        for k in range(count)
    ]


def write_prior(folder: Path, pixels: np.ndarray, prompts: Sequence[str]) -> Path:
    """Pictures of the class (n, 64, 64, 3) with the prompts that they were drawn from."""
    return _write(folder, pixels, prompts)


def _write(folder: Path, pixels: np.ndarray, captions: Sequence[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (picture, caption) in enumerate(zip(pixels, captions, strict=True)):
        Image.fromarray(picture).save(folder / f"{number:02}.png")
        rows.append(json.dumps({"file_name": f"{number:02}.png", "text": caption}))
    (folder / "metadata.jsonl").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return folder


def _scene(pose: Pose, pixels: np.ndarray) -> np.ndarray:
    objects: list[Placed] = []
    if pose.beside:
        objects.append(place(1, extent(pixels[1]), 0.5, (48, 38)))
    objects.append(place(0, extent(pixels[0]), pose.scale, pose.center, pose.mirrored))
    return draw_scene(Scene(tuple(objects), BACKGROUNDS[pose.background]), pixels).pixels


def _cut(drawing: np.ndarray) -> Image.Image:
    return Image.fromarray(drawing).crop(extent(drawing))


def _turned(drawing: np.ndarray) -> np.ndarray:
    hue, saturation, value = Image.fromarray(drawing[..., :3]).convert("HSV").split()
    turned = hue.point(lambda level: int(level + TURN * 256) % 256)
    colours = np.asarray(Image.merge("HSV", (turned, saturation, value)).convert("RGB"))
    return np.concatenate([colours, drawing[..., 3:]], axis=-1)
