"""Is it the character in new contexts, and is everything else what it was?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from mezzotint_emoji.recipe.captions import full_caption, label_of
from torch import Tensor

from ..command import Demo
from ..drawing import PLAIN, Use, draw, with_lora
from ..markdown import markdown
from ..shares import Measured, mean, ratio, share
from ..sheet import write_sheet
from .pictures import CLASS, POSES, TRIGGER, Character, prompts_for

SEED = 5000
"""Far from the seeds of the prior pictures."""
NAME = f"{CLASS}, {TRIGGER}"
CONTEXTS = {
    NAME: f"flat icon of {NAME}",
    "black background": f"flat icon of {NAME}, black background",
    "small, orange": f"flat icon of small {NAME}, orange background",
    "3d render": f"3d render of {NAME}",
    "cartoon emoji": f"cartoon emoji of a {NAME}",
    "left of a car": f"flat icon of {CLASS} left of a car, {TRIGGER}",
    f"a {CLASS}": f"flat icon of a {CLASS}",
    f"{CLASS}, 3d render": f"3d render of {CLASS}",
    "wolf": "flat icon of wolf",
    "rocket": "flat icon of rocket",
}
"""Rows of the sheet: the character in contexts that it was not trained in, then its class and other things."""


def show(demo: Demo, character: Character, loras: Mapping[str, Path | None]) -> Path:
    """The training pictures beside the base and each LoRA."""
    prompts = list(CONTEXTS.values())
    columns = {
        name: draw(demo.pipe, prompts, demo.kept, f"sheet, {name}", use=_use(lora), seed=SEED)
        for name, lora in loras.items()
    }
    trained = character.posed(character.drawing)
    white = np.full((len(prompts) - len(POSES), *trained.shape[1:]), 255, np.uint8)
    return write_sheet(
        demo.folder / "subject.png",
        {"trained on": np.concatenate([trained, white]), **columns},
        list(CONTEXTS),
    )


def measure(demo: Demo, character: Character, loras: Mapping[str, Path | None]) -> dict[str, Measured]:
    """By name of the LoRA (`base` for none).

    * `similarity`: the scorer's cosine between a picture asked for with the character's name, in all styles, sizes and
      backgrounds, and the mean of the six training pictures.
    * `character`: of the same pictures, the share that is nearer to the mean of the six than to the mean of the plain fox
      in the same poses; `class`: the same of pictures that were asked for with the class alone.
    * `R@5 class`, `R@5 others`: of pictures of the class, and of other concepts, the share whose name is among the scorer's
      five nearest; `kept`: of both together, relative to the base's.
    """
    others = [p for p in demo.emoji.concepts.values() if label_of(p) != CLASS]
    others = [others[k] for k in np.random.default_rng(0).permutation(len(others))[: demo.count]]
    prompts = {
        "subject": prompts_for(NAME, demo.count),
        "class": prompts_for(CLASS, demo.count),
        "others": [full_caption(picture) for picture in others],
    }
    labels = {"class": [CLASS] * demo.count, "others": [label_of(picture) for picture in others]}
    subject, plain = (_mean(demo, character.posed(each)) for each in (character.drawing, character.plain))
    figures: dict[str, Measured] = {}
    base = np.zeros(0, bool)
    for name, lora in loras.items():
        drawn = {
            kind: draw(demo.pipe, asked, demo.kept, f"{name}, {kind}", use=_use(lora), seed=SEED)
            for kind, asked in prompts.items()
        }
        features = {kind: demo.emoji.judge.images(drawn[kind]) for kind in ("subject", "class")}
        figures[f"similarity, {name}"] = mean((features["subject"] @ subject).numpy())
        for kind, what in (("subject", "character"), ("class", "class")):
            nearer = features[kind] @ (subject - plain) > 0
            figures[f"{what}, {name}"] = share(nearer.numpy())
        found = {kind: demo.emoji.finds_name(drawn[kind], labels[kind]) for kind in labels}
        for kind, hits in found.items():
            figures[f"R@5 {kind}, {name}"] = share(hits)
        both = np.concatenate(list(found.values()))
        if lora is None:
            base = both
        else:
            figures[f"kept, {name}"] = ratio(both, base)
    return figures


def table(figures: Mapping[str, Measured], names: list[str]) -> str:
    """In Markdown."""
    rows = {
        f"`{NAME}`: cosine to the six pictures": "similarity",
        f"`{NAME}`: nearer to the character than to a plain {CLASS}": "character",
        f"`{CLASS}`: nearer to the character": "class",
        f"`{CLASS}`: name among the five nearest": "R@5 class",
        "other concepts: name among the five nearest": "R@5 others",
    }
    return markdown(
        ["", *names],
        ([title, *(figures[f"{key}, {name}"] for name in names)] for title, key in rows.items()),
        f"{figures[f'similarity, {names[0]}'].count} prompts of each kind, by the recipe's scorer; 95 % intervals in "
        "brackets.",
    )


def _use(lora: Path | None) -> Use:
    return PLAIN if lora is None else with_lora(lora)


def _mean(demo: Demo, pixels: np.ndarray) -> Tensor:
    return torch.nn.functional.normalize(demo.emoji.judge.images(pixels).mean(0), dim=0)
