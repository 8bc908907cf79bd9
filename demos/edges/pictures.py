"""The drawings that it learns from, and outlines that it has never seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from mezzotint import Pipeline
from mezzotint_controlnet.preprocess import parse_preprocessor, preprocess
from mezzotint_emoji.recipe.captions import STYLE_PHRASES, full_caption
from mezzotint_emoji.recipe.layouts import Composer
from mezzotint_emoji.recipe.manifest import Picture
from PIL import Image
from rich.console import Console
from rich.progress import track

from ..emoji import Emoji

OUTLINES = "canny(low=100, high=200)"
PLACED = 1
"""How often each drawing comes in another place, besides as it is."""
SEED = 4


@dataclass(frozen=True)
class Asked:
    """Held-out pairs of concept and style; prompts say nothing of the place."""

    pictures: Sequence[Picture]
    prompts: Sequence[str]
    drawings: Sequence[np.ndarray]
    """What the outlines are of, (64, 64, 3) each."""
    outlines: Sequence[np.ndarray]
    """(64, 64, 3) each, 0 and 255."""


def write_pictures(emoji: Emoji, folder: Path) -> Path:
    """Drawings that the U-Net was trained on, once as they are and `PLACED` times placed, with captions beside."""
    data = emoji.data.drawn_often()
    composer = Composer(data.pictures, data.pixels)
    folder.mkdir(exist_ok=True)
    for index, picture in enumerate(track(data.pictures, "writing pictures", console=Console(stderr=True))):
        for k in range(1 + PLACED):
            random = np.random.default_rng([SEED, index, k])
            example = composer.one(index, random) if k else composer.plain(index, random)
            path = folder / f"{picture.style}-{picture.hex}-{k}.png"
            if not path.exists():
                Image.fromarray(composer.pixels_of(example)).save(path)
            path.with_suffix(".txt").write_text(example.caption, encoding="utf-8")
    return folder


def held_out(emoji: Emoji, pipe: Pipeline, count: int, *, moved: bool) -> Asked:
    """`count` pairs, or as many as there are; as they are drawn, or moved to a random place in a random size."""
    data = emoji.data.where(lambda picture: picture.split == "pair" and picture.style in STYLE_PHRASES)
    random = np.random.default_rng(11)
    composer = Composer(data.pictures, data.pixels)
    chosen = sorted(random.permutation(len(data.pictures))[:count].tolist())
    pictures = [data.pictures[index] for index in chosen]
    example = composer.one if moved else composer.plain
    placed = [composer.pixels_of(example(index, random)) for index in chosen]
    return Asked(
        pictures,
        [full_caption(picture) for picture in pictures],
        placed,
        [outline(pipe, each) for each in placed],
    )


def outline(pipe: Pipeline, pixels: np.ndarray) -> np.ndarray:
    """What the network is trained on, (height, width, 3) of 0 and 255."""
    name, options = parse_preprocessor(OUTLINES)
    return np.asarray(preprocess(pipe.registry, name, Image.fromarray(pixels), options).convert("RGB"))


def through_vae(pipe: Pipeline, drawings: Sequence[np.ndarray]) -> np.ndarray:
    """What is left of them in latents, (n, height, width, 3)."""
    pixels = torch.from_numpy(np.stack(drawings)).permute(0, 3, 1, 2).float() / 127.5 - 1
    chance = [torch.Generator().manual_seed(k) for k in range(len(drawings))]
    return np.stack([np.asarray(image.convert("RGB")) for image in pipe.decode(pipe.encode(pixels, chance))])


def edge_f1(asked: np.ndarray, drawn: np.ndarray, within: int) -> float:
    """F1 of two maps of edges, each met within some pixels; 0 where one of them is empty."""
    first, second = asked[..., 0] > 0, drawn[..., 0] > 0
    if not first.any() or not second.any():
        return 0.0
    square = np.ones((2 * within + 1, 2 * within + 1), np.uint8)
    near_first, near_second = (cv2.dilate(each.astype(np.uint8), square) > 0 for each in (first, second))
    recall, precision = (first & near_second).sum() / first.sum(), (second & near_first).sum() / second.sum()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0
