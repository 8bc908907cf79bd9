"""Prompts of two things that are never together in training, with the box of each thing.

What they are for: does the model put the right things in the right places, and does attention to a thing's words look at
that thing? `mezzotint_emoji/couples.json` holds some of them, for tests that have no working folder.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .captions import STYLE_PHRASES, label_of, with_article
from .data import Data
from .layouts import Composer
from .manifest import Picture
from .render import SIZE
from .scenes import Box, Placed, Scene
from .split import couple_is_held_out

RELATIONS = ("left of", "right of", "above", "below", "on")
FILE = Path(__file__).resolve().parent.parent / "couples.json"


@dataclass(frozen=True)
class Couple:
    """The first thing is in `relation` to the second; `scene` shows them, drawn from `Data.pixels`."""

    first: Picture
    relation: str
    second: Picture
    scene: Scene
    placed: tuple[Placed, Placed]

    @property
    def caption(self) -> str:
        """`flat icon of an owl left of a chair`."""
        return couple_caption(self.first, self.relation, self.second)

    @property
    def boxes(self) -> tuple[Box, Box]:
        """(left, top, right, bottom) in pixels, of the first and of the second."""
        return self.placed[0].box, self.placed[1].box


def couple_caption(first: Picture, relation: str, second: Picture) -> str:
    """The caption of two things of one style."""
    names = with_article(label_of(first)), with_article(label_of(second))
    return f"{STYLE_PHRASES[first.style]} of {names[0]} {relation} {names[1]}"


def draw_couples(data: Data, count: int, seed: int = 11) -> tuple[list[Couple], Data]:
    """`count` held-out couples of things that are known one by one; also the part of `data` that scenes index."""
    part = data.split("train")
    composer, random = Composer(part.pictures, part.pixels), np.random.default_rng(seed)
    things = [i for i in range(len(part.pictures)) if composer.is_thing(i)]
    couples: list[Couple] = []
    while len(couples) < count:
        first, second = (int(i) for i in random.choice(things, 2, replace=False))
        a, b = part.pictures[first], part.pictures[second]
        if a.style != b.style or a.base == b.base or not couple_is_held_out(a.base, b.base):
            continue
        relation = str(random.choice(RELATIONS))
        scene = composer.arrange(first, relation, second, random)
        placed = {thing.index: thing for thing in scene.objects}
        couples.append(Couple(a, relation, b, scene, (placed[first], placed[second])))
    return couples, part


def write_couples(couples: Sequence[Couple], path: Path = FILE) -> None:
    """Write prompts, words and boxes as JSON.

    A box is where the composed picture has the thing. What the model draws lies there within a few pixels, if it lies
    where it should.
    """
    rows = [
        {
            "prompt": couple.caption,
            "style": couple.first.style,
            "relation": couple.relation,
            "things": [
                {"words": label_of(picture), "box": list(box)}
                for picture, box in zip((couple.first, couple.second), couple.boxes, strict=True)
            ],
        }
        for couple in couples
    ]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f'{{"size": [{SIZE}, {SIZE}], "couples": [\n{lines}\n]}}\n')
