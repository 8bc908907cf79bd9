"""Does a generated picture show what was asked for? Retrieval with a scorer, generated beside real pictures.

    python benchmarks/emoji_retrieval.py --work FOLDER [--model FOLDER ...] [--count 96] [--steps 20] [--guidance 4]
        [--kinds KIND ...] [--sheets FOLDER]

`--work` is the folder of the recipe, after `data` and `train scorer`. The scorer is a small contrastive model that is
trained on the training split alone: it is neither CLIP nor as good, and has never seen a held-out concept, so the
real pictures beside are what its numbers have to be read against.

* R@k names: among the names of all concepts, is the right one of the k nearest to the picture?
* R@k pictures: among the real pictures of that style, is the one that was asked for of the k nearest? (For real
  pictures this would be 1.)
* R@k coarse: the same with the pixels themselves at 16 × 16, which needs no scorer: layout and colours.
* couples: two things that are never together in training, in one of five relations. Relation: which of the ten
  captions of these two things (either order, five relations) is nearest? R@k: among all couples that were asked for.
  The model of nothing is right in 18 % of cases, as `a left of b` and `b right of a` are one picture.
* distant pair: pairs whose concept is in training in no style of the same maker's. Fluent Emoji's three styles are often
  near copies of each other, so that a held-out picture of one is all but shown in another.
* unseen name: names of known concepts that no caption has, such as `aubergine` (`emoji_unseen_names.py`).

Every number has a 95 % bootstrap interval over prompts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from emoji_unseen_names import UNSEEN_NAMES
from machine import describe_machine
from mezzotint_emoji import MODEL
from mezzotint_emoji.recipe.captions import STYLE_PHRASES, full_caption, label_of
from mezzotint_emoji.recipe.couples import RELATIONS, couple_caption, draw_couples
from mezzotint_emoji.recipe.data import Data, load, to_tensor
from mezzotint_emoji.recipe.layouts import is_drawn_often
from mezzotint_emoji.recipe.manifest import Picture
from mezzotint_emoji.recipe.render import on_background
from mezzotint_emoji.recipe.scenes import draw_scene
from mezzotint_emoji.recipe.scorer import Judge
from mezzotint_emoji.recipe.sheet import grid
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from tqdm import tqdm

KINDS = ("train", "pair", "distant pair", "concept", "couple", "unseen name")
MAKERS = {"3d": "Microsoft", "gradient": "Microsoft", "flat": "Microsoft"}
"""Of styles that resemble each other."""


@dataclass(frozen=True)
class Asked:
    """Prompts of one kind, with the real picture (h, w, 3) that each asks for."""

    kind: str
    prompts: tuple[str, ...]
    pictures: tuple[Picture, ...]
    real: np.ndarray
    others: tuple[Picture, ...] = ()
    relations: tuple[str, ...] = ()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, nargs="+", default=[MODEL])
    parser.add_argument("--styles", nargs="+", default=list(STYLE_PHRASES), choices=list(STYLE_PHRASES))
    parser.add_argument("--groups", nargs="+", help="of emojibase, such as food-drink; default: all")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--count", type=int, default=96, help="prompts of each kind")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--sheets", type=Path, help="folder for what was drawn, a sheet and its prompts a kind"
    )
    parser.add_argument("--without-scorer", action="store_true", help="only what needs no scorer")
    options = parser.parse_args()
    print(describe_machine())
    data = load(options.work).where(is_drawn_often)
    if options.groups:
        data = data.where(lambda picture: picture.group in options.groups)
    judge = None if options.without_scorer else Judge(options.work)
    asked = [ask(kind, data, options.styles, options.count) for kind in options.kinds]
    print(f"{len(data.pictures)} pictures; styles {', '.join(options.styles)}")
    for part in asked:
        report("real pictures", part, part.real, data, judge)
    for model in options.model:
        for part in asked:
            drawn = generate(model, part.prompts, options.steps, options.guidance, options.seed)
            if options.sheets:
                save_sheet(drawn, part, options.sheets)
            report(str(model), part, drawn, data, judge)


def ask(kind: str, data: Data, styles: Sequence[str], count: int) -> Asked:
    """The prompts of one kind, the same for every model."""
    random = np.random.default_rng(11)
    if kind == "couple":
        return couples(data, styles, count)
    split = {"unseen name": "train", "distant pair": "pair"}.get(kind, kind)
    part = data.where(lambda picture: picture.split == split and picture.style in styles)
    prompts = [full_caption(picture) for picture in part.pictures]
    if kind == "unseen name":
        names = {label: name for name, label in UNSEEN_NAMES.items()}
        unseen = [names.get(label_of(picture)) for picture in part.pictures]
        prompts = [
            f"{STYLE_PHRASES[picture.style]} of {name}" if name else ""
            for picture, name in zip(part.pictures, unseen, strict=True)
        ]
    if kind == "distant pair":
        near = {maker_and_concept(picture) for picture in data.pictures if picture.split == "train"}
        prompts = [
            "" if maker_and_concept(picture) in near else prompt
            for picture, prompt in zip(part.pictures, prompts, strict=True)
        ]
    usable = [i for i, prompt in enumerate(prompts) if prompt]
    chosen = sorted(random.permutation(usable)[:count])
    taken = part.take(chosen)
    return Asked(kind, tuple(prompts[i] for i in chosen), tuple(taken.pictures), on_background(taken.pixels))


def maker_and_concept(picture: Picture) -> tuple[str, str]:
    """The same for drawings that resemble each other."""
    return MAKERS.get(picture.style, picture.style), picture.base


def couples(data: Data, styles: Sequence[str], count: int) -> Asked:
    """Two things of one style that are never composed in training, in a relation."""
    found, part = draw_couples(data.where(lambda picture: picture.style in styles), count)
    return Asked(
        "couple",
        tuple(couple.caption for couple in found),
        tuple(couple.first for couple in found),
        np.stack([draw_scene(couple.scene, part.pixels).pixels for couple in found]),
        tuple(couple.second for couple in found),
        tuple(couple.relation for couple in found),
    )


def generate(model: Path, prompts: Sequence[str], steps: int, guidance: float, seed: int) -> np.ndarray:
    """One picture a prompt, (n, 64, 64, 3) uint8, by plain diffusers."""
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import logging

    logging.disable_progress_bar()
    pipe = StableDiffusionPipeline.from_pretrained(model, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    images = []
    for first in tqdm(range(0, len(prompts), 16), f"{model.name}", unit="batch", leave=False):
        batch = list(prompts[first : first + 16])
        generators = [torch.Generator().manual_seed(seed + first + k) for k in range(len(batch))]
        images += pipe(batch, num_inference_steps=steps, guidance_scale=guidance, generator=generators).images
    return np.stack([np.asarray(image) for image in images])


def save_sheet(drawn: np.ndarray, asked: Asked, folder: Path) -> None:
    """Eight pictures a row, and their prompts line by line."""
    folder.mkdir(parents=True, exist_ok=True)
    grid([Image.fromarray(pixels) for pixels in drawn]).save(folder / f"{asked.kind}.png")
    (folder / f"{asked.kind}.txt").write_text("".join(f"{prompt}\n" for prompt in asked.prompts))


def report(who: str, asked: Asked, pixels: np.ndarray, data: Data, judge: Judge | None) -> None:
    """Print one line for each measure of one kind."""
    if asked.kind == "couple":
        found = measure_couples(asked, pixels, judge) if judge else {}
    else:
        found = {} if pixels is asked.real else measure_coarse(asked, pixels, data)
        found |= measure(asked, pixels, data, judge) if judge else {}
    for name, hits in found.items():
        low, high = interval(hits)
        values = {"who": who, "kind": asked.kind, "measure": name, "n": len(hits)}
        values |= {"value": round(float(hits.mean()), 3), "low": round(low, 3), "high": round(high, 3)}
        print(json.dumps(values), flush=True)


def measure(asked: Asked, pixels: np.ndarray, data: Data, judge: Judge) -> dict[str, np.ndarray]:
    """Whether each picture finds its name among all names, and the real picture among those of its style."""
    images = judge.images(pixels)
    labels = sorted({label_of(picture) for picture in data.pictures})
    styles = np.array([picture.style for picture in data.pictures])
    bases = np.array([picture.base for picture in data.pictures])
    real = judge.images(on_background(data.pixels))
    texts = {
        style: judge.texts([f"{STYLE_PHRASES[style]} of {label}" for label in labels])
        for style in {picture.style for picture in asked.pictures}
    }
    names, pictures = [], []
    for image, picture in zip(images, asked.pictures, strict=True):
        order = (texts[picture.style] @ image).argsort(descending=True).tolist()
        names.append(order.index(labels.index(label_of(picture))))
        same = np.flatnonzero(styles == picture.style)
        nearest = bases[same][(real[same] @ image).argsort(descending=True).numpy()]
        pictures.append(int(np.flatnonzero(nearest == picture.base)[0]))
    ranks = {"names": np.array(names)}
    if pixels is not asked.real:
        ranks["pictures"] = np.array(pictures)
    return {f"R@{k} {of}": values < k for of, values in ranks.items() for k in (1, 5)}


def measure_coarse(asked: Asked, pixels: np.ndarray, data: Data) -> dict[str, np.ndarray]:
    """Whether the real picture is among those of its style that are nearest at 16 × 16 pixels."""
    drawn, real = coarse(pixels), coarse(on_background(data.pixels))
    styles = np.array([picture.style for picture in data.pictures])
    bases = np.array([picture.base for picture in data.pictures])
    ranks = []
    for picture, distances in zip(asked.pictures, torch.cdist(drawn, real).numpy(), strict=True):
        same = np.flatnonzero(styles == picture.style)
        order = same[distances[same].argsort()]
        ranks.append(int(np.flatnonzero(bases[order] == picture.base)[0]))
    return {f"R@{k} coarse": np.array(ranks) < k for k in (1, 5)}


def coarse(pixels: np.ndarray) -> Tensor:
    """(n, 64, 64, 3) to (n, 768)."""
    return adaptive_avg_pool2d(to_tensor(pixels), 16).flatten(1)


def measure_couples(asked: Asked, pixels: np.ndarray, judge: Judge) -> dict[str, np.ndarray]:
    """Whether the right relation is nearest of ten, and the right couple of all."""
    images, relation_hits = judge.images(pixels), []
    for image, first, second, relation in zip(
        images, asked.pictures, asked.others, asked.relations, strict=True
    ):
        captions = [couple_caption(first, relation, second)]
        captions += [couple_caption(first, other, second) for other in RELATIONS if other != relation]
        captions += [couple_caption(second, other, first) for other in RELATIONS]
        scores = judge.texts(captions) @ image
        # `a left of b` and `b right of a` are one picture.
        mirror = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
        same = [0, *([5 + RELATIONS.index(mirror[relation])] if relation in mirror else [])]
        relation_hits.append(int(scores.argmax()) in same)
    order = (images @ judge.texts(asked.prompts).T).argsort(dim=1, descending=True)
    rank = (order == torch.arange(len(images))[:, None]).int().argmax(1).numpy()
    return {"relation": np.array(relation_hits), "R@1 couples": rank < 1, "R@5 couples": rank < 5}


def interval(hits: np.ndarray, rounds: int = 2000) -> tuple[float, float]:
    """95 % bootstrap interval of the mean."""
    random = np.random.default_rng(0)
    means = hits[random.integers(0, len(hits), (rounds, len(hits)))].mean(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


if __name__ == "__main__":
    main()
