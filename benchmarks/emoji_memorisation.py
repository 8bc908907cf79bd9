"""How near are generated pictures to training pictures, compared with real pictures that were held out?

    python benchmarks/emoji_memorisation.py --work FOLDER [--model FOLDER] [--count 64] [--sheet sheet.png]

A model of this size that has seen each picture many times can draw some of them again. For prompts of training
concepts, held-out pairs and couples, the nearest training picture is the one of least mean absolute difference of
pixels (0 to 255), on white, over shifts of up to two pixels.

* `again`: the nearest training picture is of the concept that was asked for (in any style): the model draws what it has
  seen, which for a training concept is what it is asked to do.
* `copies`: it is nearer than 95 % of the real pictures of held-out concepts, which have no twin in training.

The sheet shows generated pictures over their nearest ones. Intervals are 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from emoji_retrieval import KINDS, ask, generate, interval
from machine import describe_machine
from mezzotint_emoji import MODEL
from mezzotint_emoji.recipe.captions import STYLE_PHRASES
from mezzotint_emoji.recipe.data import load
from mezzotint_emoji.recipe.layouts import is_drawn_often
from mezzotint_emoji.recipe.render import on_background
from PIL import Image

SHIFTS = range(-2, 3)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--styles", nargs="+", default=list(STYLE_PHRASES), choices=list(STYLE_PHRASES))
    parser.add_argument("--groups", nargs="+", help="of emojibase, such as food-drink; default: all")
    parser.add_argument("--kinds", nargs="+", default=["train", "pair", "couple"], choices=KINDS)
    parser.add_argument("--count", type=int, default=64, help="prompts of each kind")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    print(describe_machine())
    data = load(options.work).where(is_drawn_often)
    if options.groups:
        data = data.where(lambda picture: picture.group in options.groups)
    seen = data.split("train")
    trained = on_background(seen.pixels)
    distances, _ = nearest(on_background(data.split("concept").pixels), trained)
    threshold = float(np.quantile(distances, 0.05))
    print(json.dumps({"of": "real, held-out concepts", "n": len(distances), **quantiles(distances)}))
    rows: list[np.ndarray] = []
    for kind in options.kinds:
        asked = ask(kind, data, options.styles, options.count)
        drawn = generate(options.model, asked.prompts, options.steps, options.guidance, seed=7)
        distances, indices = nearest(drawn, trained)
        measures = {"copies": distances < threshold}
        if kind != "couple":
            found = [seen.pictures[i].base for i in indices]
            measures["again"] = np.array(
                [base == p.base for base, p in zip(found, asked.pictures, strict=True)]
            )
        values = {"of": kind, "n": len(distances), **quantiles(distances)}
        for name, hits in measures.items():
            low, high = interval(hits)
            values[name] = {
                "mean": round(float(hits.mean()), 3),
                "low": round(low, 3),
                "high": round(high, 3),
            }
        print(json.dumps(values), flush=True)
        rows += [np.concatenate(list(drawn[:16]), 1), np.concatenate(list(trained[indices[:16]]), 1)]
    if options.sheet:
        Image.fromarray(np.concatenate(rows)).save(options.sheet)


def nearest(pictures: np.ndarray, trained: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least distance of each picture to a training picture, and which; found at 16 × 16, measured at 64 × 64."""
    coarse = [half(half(part.astype(np.float32))).reshape(len(part), -1) for part in (pictures, trained)]
    distances, indices = [], []
    for picture, small in zip(pictures, coarse[0], strict=True):
        candidates = np.abs(coarse[1] - small).mean(1).argsort()[:20]
        shifted = [np.roll(picture, (dy, dx), (0, 1)).astype(np.int16) for dy in SHIFTS for dx in SHIFTS]
        found = [min(np.abs(trained[i] - other).mean() for other in shifted) for i in candidates]
        distances.append(min(found))
        indices.append(candidates[int(np.argmin(found))])
    return np.array(distances), np.array(indices)


def half(pixels: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 pixels."""
    return (pixels[:, ::2, ::2] + pixels[:, 1::2, ::2] + pixels[:, ::2, 1::2] + pixels[:, 1::2, 1::2]) / 4


def quantiles(distances: np.ndarray) -> dict[str, float]:
    """5 %, median, 95 %."""
    return {f"q{q}": round(float(np.quantile(distances, q / 100)), 2) for q in (5, 50, 95)}


if __name__ == "__main__":
    main()
