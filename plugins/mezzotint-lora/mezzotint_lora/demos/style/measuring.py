"""Before and after on concepts that were not trained on: a sheet, the share in the style, and retrieval."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import mezzotint
import torch
from mezzotint import Pipeline
from PIL import Image, ImageDraw
from torch import Tensor

from ...extension import LoRA
from .art import FLUENT_FLAT, NOTO, TWEMOJI, Art
from .classifier import share_of_second, through_vae, to_tensor, train_classifier
from .pictures import caption, concepts

WEIGHTS = (0.0, 0.5, 1.0, 1.5)
SHOWN = (
    "cat-face",
    "balloon",
    "mushroom",
    "whale",
    "snake",
    "broccoli",
    "jeans",
    "pig",
    "tent",
    "crocodile",
    "cherry-blossom",
    "disappointed-face",
)
COARSE = 16
"""Pictures are compared at 16 × 16 pixels: layout and colours, not single pixels."""


def draw(
    pipe: Pipeline, prompts: Sequence[str], lora: Path | None, weight: float, seed: int = 7
) -> list[Image.Image]:
    """One picture for each prompt, each with the noise of the same seed."""
    using = nullcontext() if lora is None else pipe.using(LoRA(lora, weight=weight))
    with using:
        return [pipe(prompt, seed=seed).images[0] for prompt in prompts]


def write_sheet(work: Path, lora: Path, path: Path, model: str = "emoji") -> Path:
    """A row for each weight, a column for each concept, and Twemoji's own pictures below."""
    pipe = mezzotint.load(model)
    held_out = concepts(work)[1]
    names = [name for name in SHOWN if name in held_out]
    prompts = [caption(name) for name in names]
    rows = {f"weight {weight:g}": draw(pipe, prompts, lora, weight) for weight in WEIGHTS}
    rows["Twemoji's"] = [Art(TWEMOJI, work).picture(name) for name in names]
    side, label = 64, 72
    sheet = Image.new("RGB", (label + side * len(names), side * len(rows)), "white")
    for row, (title, images) in enumerate(rows.items()):
        ImageDraw.Draw(sheet).text((4, row * side + side // 2 - 6), title, "black")
        for column, image in enumerate(images):
            sheet.paste(image, (label + column * side, row * side))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)
    return path


def measure(work: Path, lora: Path, model: str = "emoji", count: int = 100) -> dict[str, float]:
    """By name, on the first `count` concepts that were not trained on.

    * `real`: share of Twemoji's pictures of those concepts, and of the other sets', that the classifier names rightly.
      It is trained on the pictures of the other concepts alone, and sees every picture through the VAE.
    * `style_0`, `style_1`: share of samples that it takes for Twemoji, without the LoRA and at weight 1.
    * `retrieval_base`, `retrieval_lora`: in what share of samples the concept's own picture is among the five nearest of
      its set; for the base with `flat icon of …` among the flat set, for the LoRA among Twemoji.
    """
    pipe = mezzotint.load(model)
    trained, held_out = concepts(work)
    asked = held_out[:count]
    seen = [*trained, *held_out[count:]]
    others = [Art(FLUENT_FLAT, work), Art(NOTO, work)]
    theirs = [art.picture(name) for art in others for name in seen if name in set(art.names())]
    ours = [Art(TWEMOJI, work).picture(name) for name in seen]
    network = train_classifier(
        through_vae(pipe.vae, to_tensor(theirs)), through_vae(pipe.vae, to_tensor(ours))
    )

    def real(art: Art) -> Tensor:
        names = set(art.names())
        return through_vae(pipe.vae, to_tensor([art.picture(name) for name in asked if name in names]))

    base = draw(pipe, [caption(name) for name in asked], None, 0.0)
    flat = draw(pipe, [caption(name, "flat icon of") for name in asked], None, 0.0)
    styled = draw(pipe, [caption(name) for name in asked], lora, 1.0)
    return {
        "real_twemoji": share_of_second(network, real(Art(TWEMOJI, work))),
        "real_others": 1 - share_of_second(network, torch.cat([real(art) for art in others])),
        "style_0": share_of_second(network, to_tensor(base)),
        "style_flat_0": share_of_second(network, to_tensor(flat)),
        "style_1": share_of_second(network, to_tensor(styled)),
        "retrieval_base": retrieval(flat, asked, Art(FLUENT_FLAT, work)),
        "retrieval_lora": retrieval(styled, asked, Art(TWEMOJI, work)),
    }


def retrieval(samples: Sequence[Image.Image], asked: Sequence[str], art: Art, among: int = 5) -> float:
    """In what share the picture of the concept is among the nearest of all pictures of the set."""
    names = art.names()
    candidates = _coarse([art.picture(name) for name in names])
    nearest = torch.cdist(_coarse(samples), candidates).argsort(dim=1)[:, :among]
    hits = [
        name in {names[place] for place in row} for name, row in zip(asked, nearest.tolist(), strict=True)
    ]
    return sum(hits) / len(hits)


def _coarse(images: Sequence[Image.Image]) -> Tensor:
    return torch.nn.functional.adaptive_avg_pool2d(to_tensor(images), COARSE).flatten(1)
