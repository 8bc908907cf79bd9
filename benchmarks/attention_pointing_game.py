"""Is the place where a word's attention map is highest on the object that the word names?

    python benchmarks/attention_pointing_game.py --data FOLDER [--model emoji] [--scenes 100] [--seed 0]

FOLDER is the working folder of the emoji recipe (`python -m mezzotint_emoji.recipe data --work FOLDER`). Each scene
puts two of its drawings next to, above or on each other, so that the box of each object is known. Two games:

* composed: the scene itself is encoded, noised to the middle of the schedule (`--from 0.5`), and denoised under its
  caption; a map points right if its highest pixel lies in the object's box.
* generated: the caption alone makes a picture, where one object is to the left and one to the right; right is the
  half of the picture that the caption says. This also counts the pictures that do not do as they are told.

Beside what `--attention-maps` gives: the mean of probabilities over all layers alike, heads and steps, as DAAM has it, and
what each single layer gives, over all steps and at one, the middle one of those that run. Intervals are 95 %, by bootstrap over scenes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mezzotint
import numpy as np
import torch
from machine import describe_machine
from mezzotint import Extension, hookimpl
from mezzotint_blocks import AttentionMaps
from mezzotint_emoji.recipe.captions import STYLE_PHRASES, label_of, with_article
from mezzotint_emoji.recipe.data import load
from mezzotint_emoji.recipe.layouts import Composer
from mezzotint_emoji.recipe.scenes import draw_scene
from PIL import Image

SIDE_BY_SIDE = ("left of", "right of")
RELATIONS = (*SIDE_BY_SIDE, "above", "below", "on", "in front of")
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Pair:
    """A scene of two objects: its picture, caption, and each object's name and visible box."""

    picture: Image.Image
    caption: str
    relation: str
    names: tuple[str, str]
    boxes: tuple[Box, Box]


def main() -> int:
    """Play and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="working folder of the emoji recipe")
    parser.add_argument("--model", default="emoji")
    parser.add_argument("--styles", default="3d,flat,noto", help="drawing styles that the model knows")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--from", dest="begin", type=float, default=0.5, help="where scenes enter the schedule"
    )
    parser.add_argument("--save", type=Path, help="also save the first overlays in this folder")
    options = parser.parse_args()
    print(describe_machine())
    pipe = mezzotint.load(options.model)
    data = load(options.data).drawn_often()
    styles = options.styles.split(",")
    composer = Composer(*_parts(data.where(lambda picture: picture.style in styles)))
    pairs = list(scenes(composer, options.scenes, np.random.default_rng(options.seed)))
    area = np.mean([_area(box) for pair in pairs for box in pair.boxes])
    print(
        f"{len(pairs)} scenes, {2 * len(pairs)} words; boxes cover {100 * area:.0f} % of the picture on average\n"
    )
    print(f"composed: pointing right, from {options.begin:g} of the schedule on")
    report(play(pipe, pairs, options.steps, begin=options.begin, save=options.save))
    sided = [pair for pair in pairs if pair.relation in SIDE_BY_SIDE]
    print(f"\ngenerated: in the right half ({len(sided)} scenes; chance is 50 %)")
    report(play(pipe, sided, options.steps, begin=None, save=options.save))
    return 0


def scenes(composer: Composer, count: int, random: np.random.Generator) -> Iterator[Pair]:
    """Pairs whose names share no word, each object at least a tenth visible."""
    made = 0
    while made < count:
        first = int(random.choice(composer.partners[str(random.choice(sorted(composer.partners)))]))
        second = composer.partner(first, random)
        names = label_of(composer.pictures[first]), label_of(composer.pictures[second])
        if set(names[0].split()) & set(names[1].split()) or max(len(name.split()) for name in names) > 3:
            continue
        relation = str(random.choice(RELATIONS))
        scene = composer.arrange(first, relation, second, random)
        drawn = draw_scene(scene, composer.pixels)
        masks = {placed.index: mask for placed, mask in zip(scene.objects, drawn.masks, strict=True)}
        boxes = tuple(_box(masks[index]) for index in (first, second))
        style = STYLE_PHRASES[composer.pictures[first].style]
        caption = f"{style} of {with_article(names[0])} {relation} {with_article(names[1])}"
        made += 1
        yield Pair(Image.fromarray(drawn.pixels), caption, relation, names, boxes)  # type: ignore[arg-type]


class FromPicture(Extension, name="from-picture"):
    """Start from a picture, noised to a place in the schedule."""

    picture: Image.Image
    begin: float

    @hookimpl
    def timesteps(self, timesteps, run):  # type: ignore[no-untyped-def]
        tail = timesteps[round(self.begin * len(timesteps)) :]
        run.state(self, dict)["first"] = tail[:1]
        return tail

    @hookimpl
    def initial_latents(self, noise, scheduler, run):  # type: ignore[no-untyped-def]
        vae = run.pipe.vae
        pixels = torch.from_numpy(np.array(self.picture)).permute(2, 0, 1)[None].float() / 127.5 - 1
        clean = vae.encode(pixels.to(vae.dtype)).latent_dist.mode() * vae.config.scaling_factor
        return scheduler.add_noise(clean, noise, run.state(self, dict)["first"])


def play(
    pipe: mezzotint.Pipeline, pairs: Sequence[Pair], steps: int, *, begin: float | None, save: Path | None
) -> Mapping[str, list[tuple[bool, bool]]]:
    """For each kind of map, whether it points right at both objects of each scene.

    Args:
        begin: where the scene's picture enters the schedule; `None` makes a new one from the caption.
    """
    layers = [name for name in pipe._places[1] if name.endswith("attn2")]
    hits: dict[str, list[tuple[bool, bool]]] = {}
    for number, pair in enumerate(pairs):
        count = steps if begin is None else steps - round(begin * steps)
        # The middle one of the steps that run; wider than it, so that rounding cannot miss it.
        middle = {"start": (count // 2 - 0.5) / count, "end": (count // 2 + 0.5) / count}
        words = list(pair.names)
        kinds = {
            "--attention-maps": AttentionMaps(words=words),
            "--attention-maps-apart 0": AttentionMaps(words=words, apart=0),
        }
        kinds |= {
            f"all steps of {layer}": AttentionMaps(words=words, apart=0, layers=layer) for layer in layers
        }
        for layer in layers:
            one = AttentionMaps(words=words, apart=0, layers=layer, **middle)
            kinds[f"one step of {layer}"] = one
        start = [] if begin is None else [FromPicture(picture=pair.picture, begin=begin)]
        result = pipe(
            pair.caption,
            steps=steps,
            seed=number,
            guidance=None if begin is None else 1.0,
            use=[*start, *kinds.values()],
        )
        found = {}
        for position, kind in enumerate(kinds):
            label = "attention-maps" if position == 0 else f"attention-maps#{position + 1}"
            (maps,) = result.outputs[label]["maps"]
            found[kind] = [maps[name] for name in pair.names]
        equal = [found[f"all steps of {layer}"] for layer in layers]
        found["mean of all layers"] = [torch.stack(maps).mean(0) for maps in zip(*equal, strict=True)]
        boxes = halves(pair.relation) if begin is None else pair.boxes
        for kind, maps in found.items():
            pointed = (points_into(heat, box) for heat, box in zip(maps, boxes, strict=True))  # type: ignore[arg-type]
            hits.setdefault(kind, []).append(tuple(pointed))  # type: ignore[arg-type]
        if save is not None and number < 12:
            save.mkdir(parents=True, exist_ok=True)
            _sheet(pair, result).save(
                save / f"{'generated' if begin is None else 'composed'}-{number:02}.png"
            )
    return hits


def points_into(heat: torch.Tensor, box: Box) -> bool:
    """Whether the highest pixel of a map, enlarged to the 64 pixels of a picture, lies in the box."""
    large = torch.nn.functional.interpolate(heat[None, None], (64, 64), mode="bicubic")[0, 0]
    y, x = divmod(int(large.argmax()), 64)
    left, top, right, bottom = box
    return left <= x < right and top <= y < bottom


def halves(relation: str) -> tuple[Box, Box]:
    """The half of the picture that each object should be in."""
    left, right = (0, 0, 32, 64), (32, 0, 64, 64)
    return (left, right) if relation == "left of" else (right, left)


def report(hits: Mapping[str, list[tuple[bool, bool]]]) -> None:
    """A line for each kind of map: share of words pointed at rightly, with its interval."""
    random = np.random.default_rng(0)
    for kind, scenes_ in hits.items():
        right = np.array(scenes_, float).mean(1)
        means = right[random.integers(0, len(right), (2000, len(right)))].mean(1)
        low, high = np.quantile(means, (0.025, 0.975))
        print(f"  {100 * right.mean():5.1f} %  ({100 * low:.0f} to {100 * high:.0f})  {kind}")


def _parts(data):  # type: ignore[no-untyped-def]
    return data.pictures, data.pixels


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1]) / 64**2


def _box(mask: np.ndarray) -> Box:
    rows, columns = np.flatnonzero((mask > 127).any(1)), np.flatnonzero((mask > 127).any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _sheet(pair: Pair, result: mezzotint.Result) -> Image.Image:
    (overlays,) = result.outputs["attention-maps"]["overlays"]
    tiles = [pair.picture.resize((256, 256), 0), result.images[0].resize((256, 256), 0), *overlays.values()]
    page = Image.new("RGB", (256 * len(tiles), 284), "white")
    for column, tile in enumerate(tiles):
        page.paste(tile, (256 * column, 0))
    return page


if __name__ == "__main__":
    sys.exit(main())
