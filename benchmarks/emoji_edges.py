"""The edge ControlNet of the emoji model: its recipe, and whether a picture follows an outline that it has not seen.

    python benchmarks/emoji_edges.py train --work FOLDER -o emoji-edges [--steps 6000] [--resume]
    python benchmarks/emoji_edges.py measure --work FOLDER --controlnet emoji-edges [--sheet sheet.png]

`--work` is the folder of the emoji model's recipe, after `data`, and for `measure` after `train scorer`. Training takes
the drawings that the model was trained on, as they are and placed in other sizes, mirrored and aside, and makes their
outlines on the way. `measure` takes 64 held-out pairs of concept and style, placed at random as well, so that knowing
the emoji is not knowing its outline, and draws each from its outline, with and without control from the same noise:

* edge F1: harmonic mean of the shares of asked and of drawn edge pixels (canny) that have one of the other within one
  pixel (and, as "exact", at the same pixel); at least 0.6 with control, and twice that without;
* R@5 names: the scorer's, as in emoji_retrieval.py; at least 0.8 of that without control.

Both with a 95 % bootstrap interval over the outlines.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import mezzotint
import numpy as np
from emoji_retrieval import Asked, interval, measure
from machine import describe_machine
from mezzotint_controlnet import ControlNet
from mezzotint_controlnet.preprocess import parse_preprocessor, preprocess
from mezzotint_controlnet.training import ControlNetSettings, train_controlnet
from mezzotint_emoji.recipe.captions import STYLE_PHRASES, full_caption
from mezzotint_emoji.recipe.data import Data, load
from mezzotint_emoji.recipe.layouts import Composer, is_drawn_often
from mezzotint_emoji.recipe.scorer import Judge
from PIL import Image
from tqdm import tqdm

OUTLINES = "canny(low=100, high=200)"
SETTINGS = ControlNetSettings(
    preprocess=OUTLINES,
    steps=6000,
    batch_size=32,
    learning_rate=3e-4,
    schedule="cosine",
    warmup_steps=200,
    ema=0.999,
    # Half of the captions are empty, so that the outline has to say what the words do not.
    caption_dropout=0.5,
    buckets=False,
    save_dtype="float16",
    seed=4,
)
PLACED = 3
"""How often each drawing comes in another place, besides as it is."""


def main() -> None:
    """Train or measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for name, function in (("train", train), ("measure", evaluate)):
        command = commands.add_parser(name)
        command.set_defaults(run=function)
        command.add_argument("--work", type=Path, required=True)
        command.add_argument("--model", default="emoji")
        if name == "train":
            command.add_argument("-o", "--output", type=Path, required=True)
            command.add_argument("--resume", action="store_true")
            command.add_argument("--steps", type=int, default=SETTINGS.steps)
            continue
        command.add_argument("--controlnet", type=Path, required=True)
        command.add_argument("--count", type=int, default=64, help="outlines")
        command.add_argument("--steps", type=int, default=20)
        command.add_argument("--guidance", type=float, default=4.0)
        command.add_argument("--scale", type=float, default=1.0)
        command.add_argument("--seed", type=int, default=7)
        command.add_argument("--sheet", type=Path, help="outline, with control, without, for each")
    options = parser.parse_args()
    print(describe_machine())
    options.run(options)


def train(options: argparse.Namespace) -> None:
    """The recipe: one command from the emoji recipe's pictures to a folder in float16."""
    pictures = options.work / "edge_pictures"
    write_pictures(options.work, pictures)
    settings = SETTINGS.replaced(steps=options.steps)
    train_controlnet(mezzotint.load(options.model), pictures, options.output, settings, resume=options.resume)
    size = sum(path.stat().st_size for path in options.output.iterdir())
    print(f"{options.output}: {size / 1e6:.1f} MB")


def write_pictures(work: Path, folder: Path) -> None:
    """Drawings that the U-Net was trained on, once as they are and `PLACED` times placed, with captions beside."""
    data = load(work).drawn_often()
    composer, random = Composer(data.pictures, data.pixels), np.random.default_rng(SETTINGS.seed)
    folder.mkdir(exist_ok=True)
    for index, picture in enumerate(tqdm(data.pictures, "writing", unit="picture")):
        for k in range(1 + PLACED):
            example = composer.one(index, random) if k else composer.plain(index, random)
            path = folder / f"{picture.style}-{picture.hex}-{k}.png"
            if not path.exists():
                Image.fromarray(composer.pixels_of(example)).save(path)
            path.with_suffix(".txt").write_text(example.caption)


def held_out(data: Data, count: int) -> Asked:
    """Held-out pairs, each placed at random; prompts say nothing of the place."""
    part = data.where(lambda picture: picture.split == "pair" and picture.style in STYLE_PHRASES)
    random = np.random.default_rng(11)
    composer = Composer(part.pictures, part.pixels)
    chosen = [int(i) for i in sorted(random.permutation(len(part.pictures))[:count])]
    pictures = tuple(part.pictures[i] for i in chosen)
    placed = np.stack([composer.pixels_of(composer.one(i, random)) for i in chosen])
    return Asked("pair", tuple(full_caption(picture) for picture in pictures), pictures, placed)


def evaluate(options: argparse.Namespace) -> None:
    """Draw held-out outlines with and without control, and compare."""
    pipe = mezzotint.load(options.model)
    data = load(options.work).where(is_drawn_often)
    asked = held_out(data, options.count)
    outlines = [edges(pipe, picture) for picture in asked.real]
    judge = Judge(options.work)
    drawn = {}
    for name, scale in (("with control", options.scale), ("without", 0.0)):
        drawn[name] = draw(pipe, asked, outlines, scale, options)
        made = [edges(pipe, picture) for picture in drawn[name]]
        for kind, within in (("edge F1", 1), ("edge F1, exact", 0)):
            found = [edge_f1(a, b, within) for a, b in zip(outlines, made, strict=True)]
            report(name, kind, np.array(found))
        report(name, "R@5 names", measure(asked, drawn[name], data, judge)["R@5 names"])
    if options.sheet is not None:
        sheet(outlines, drawn["with control"], drawn["without"]).save(options.sheet)
        print(options.sheet)


def edges(pipe: mezzotint.Pipeline, pixels: np.ndarray) -> np.ndarray:
    """The outline that the network is trained on, (h, w, 3) of 0 and 255."""
    name, options = parse_preprocessor(OUTLINES)
    return np.asarray(preprocess(pipe.registry, name, Image.fromarray(pixels), options))


def edge_f1(asked: np.ndarray, drawn: np.ndarray, within: int) -> float:
    """F1 of two maps of edges, each met within some pixels; 0 where one of them is empty."""
    first, second = asked[..., 0] > 0, drawn[..., 0] > 0
    if not first.any() or not second.any():
        return 0.0
    square = np.ones((2 * within + 1, 2 * within + 1), np.uint8)
    near_first, near_second = (cv2.dilate(each.astype(np.uint8), square) > 0 for each in (first, second))
    recall, precision = (first & near_second).sum() / first.sum(), (second & near_first).sum() / second.sum()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def draw(
    pipe: mezzotint.Pipeline,
    asked: Asked,
    outlines: Sequence[np.ndarray],
    scale: float,
    options: argparse.Namespace,
) -> np.ndarray:
    """A picture for each outline, (n, 64, 64, 3)."""
    images = []
    for first in tqdm(range(0, len(outlines), 16), f"scale {scale:g}", unit="batch", leave=False):
        part = slice(first, first + 16)
        control = ControlNet(options.controlnet, list(outlines[part]), scale)
        prompts = list(asked.prompts[part])
        images += pipe(
            prompts,
            steps=options.steps,
            guidance=options.guidance,
            seed=options.seed + first,
            use=[control],
        ).images
    return np.stack([np.asarray(image) for image in images])


def report(who: str, name: str, values: np.ndarray) -> None:
    """One line of JSON."""
    low, high = interval(values)
    numbers = {"value": round(float(values.mean()), 3), "low": round(low, 3), "high": round(high, 3)}
    print(json.dumps({"who": who, "measure": name, "n": len(values), **numbers}), flush=True)


def sheet(outlines: Sequence[np.ndarray], controlled: np.ndarray, free: np.ndarray, across: int = 8) -> Image:
    """Columns of three: outline, with control, without."""
    side, gap = controlled.shape[1], 4
    height = 3 * side + 3 * gap
    rows = -(-len(outlines) // across)
    whole = Image.new("RGB", (across * (side + gap) + gap, rows * (height + gap) + gap), "grey")
    for position, three in enumerate(zip(outlines, controlled, free, strict=True)):
        row, column = divmod(position, across)
        for k, pixels in enumerate(three):
            place = (gap + column * (side + gap), gap + row * (height + gap) + k * (side + gap))
            whole.paste(Image.fromarray(pixels), place)
    return whole


if __name__ == "__main__":
    main()
