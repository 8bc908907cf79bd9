"""How scenes are made up: which things, where, on what, and what the caption says about it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .captions import CaptionWriter, label_of
from .manifest import Picture
from .render import SIZE
from .scenes import BACKGROUNDS, RELATIONS, WHITE, Placed, Scene, draw_scene, extent, place
from .split import couple_is_held_out

PLAIN, TWO, EMPTY, COLORED, MIRRORED = 0.60, 0.20, 0.10, 0.5, 0.5
SIZES = {"": (0.75, 1.0), "small": (0.4, 0.58), "large": (1.06, 1.10)}
SIDED = re.compile(
    r"[0-9]|\b(left|right|arrows?|clockwise|counterclockwise|letters?|clock|watch|stopwatch|notes?|calendar|music|musical"
    r"|receipt|newspaper|quarter|crescent|gibbous|sign|map|globe|abc|keyboard|books?|notebook|memo|scroll|credit|certificate"
    r"|zzz|hundred|stop|mahjong|joker)\b"
)
# The drawings of one deed by a man, a woman and a person differ by a few pixels: the model is given the person.
VARIANT = re.compile(r"^(man|woman|men|women|mx|mrs\.|family|couple|kiss|people|person|deaf)\b")
# These fill their square to the edge: places more than things.
FULL_SQUARE = 0.93


@dataclass(frozen=True)
class Example:
    """What the model is shown once: a scene and its caption. `relation` is empty for a single thing."""

    scene: Scene
    caption: str
    relation: str = ""


def is_drawn_often(picture: Picture) -> bool:
    """Whether the U-Net is trained on it: variants of persons are left to the decoder."""
    return (
        picture.group != "people-body"
        or VARIANT.match(picture.label.lower()) is None
        or picture.label in ("man", "woman", "person", "family", "kiss")
    )


class Composer:
    """Makes examples out of drawings: `pictures` with `pixels` (n, SIZE, SIZE, 4)."""

    def __init__(self, pictures: Sequence[Picture], pixels: np.ndarray) -> None:
        self.pictures, self.pixels = list(pictures), pixels
        self.extents = [extent(rgba) for rgba in pixels]
        self.captions = CaptionWriter(pictures)
        self.partners = {
            style: [i for i, p in enumerate(pictures) if p.style == style and self.is_thing(i)]
            for style in {picture.style for picture in pictures}
        }

    def is_thing(self, index: int) -> bool:
        """Whether a drawing can be a part of a scene: no person, and no square full of landscape."""
        left, top, right, bottom = self.extents[index]
        filled = (self.pixels[index][top:bottom, left:right, 3] > 128).mean()
        square = min(right - left, bottom - top) > 0.85 * (SIZE - 6)
        return self.pictures[index].group != "people-body" and not (filled > FULL_SQUARE and square)

    def draw(self, index: int, random: np.random.Generator) -> Example:
        """One example of the training mix with drawing `index` in it; some captions are empty, for guidance."""
        empty = random.random() < EMPTY
        example = self.captioned(index, random)
        return Example(example.scene, "", example.relation) if empty else example

    def captioned(self, index: int, random: np.random.Generator) -> Example:
        """The same without empty captions."""
        kind = random.random()
        if kind < PLAIN:
            return self.plain(index, random)
        if kind < PLAIN + TWO and self.is_thing(index):
            return self.two(index, random)
        return self.one(index, random)

    def pixels_of(self, example: Example) -> np.ndarray:
        """The example's picture, (SIZE, SIZE, 3)."""
        return draw_scene(example.scene, self.pixels).pixels

    def plain(self, index: int, random: np.random.Generator) -> Example:
        """The drawing as it is, on white."""
        return Example(
            Scene((Placed(index, self.extents[index]),)), self.captions.one(self.pictures[index], random)
        )

    def one(self, index: int, random: np.random.Generator) -> Example:
        """The drawing in some size, somewhere near the middle, on some colour."""
        size = str(random.choice(list(SIZES), p=(0.5, 0.3, 0.2)))
        background = self.background(random)
        scale = random.uniform(*SIZES[size])
        center = tuple(SIZE / 2 + random.uniform(-3, 3, 2))
        placed = place(index, self.extents[index], scale, center, self.may_mirror(index, random))
        caption = self.captions.one(self.pictures[index], random, size, background)
        return Example(Scene((placed,), BACKGROUNDS.get(background, WHITE)), caption)

    def two(self, index: int, random: np.random.Generator) -> Example:
        """Two drawings of one style in a relation that the caption names."""
        first, second = index, self.partner(index, random)
        if random.random() < 0.5:
            first, second = second, first
        weights = np.array(list(RELATIONS.values()), float)
        relation = str(random.choice(list(RELATIONS), p=weights / weights.sum()))
        background = self.background(random)
        scene = self.arrange(first, relation, second, random, background)
        pictures = (self.pictures[first], self.pictures[second])
        return Example(
            scene, self.captions.two(pictures[0], relation, pictures[1], random, background), relation
        )

    def partner(self, index: int, random: np.random.Generator) -> int:
        """Another thing of the same style that may be composed with this one."""
        candidates = self.partners[self.pictures[index].style]
        while True:
            other = candidates[int(random.integers(len(candidates)))]
            bases = self.pictures[index].base, self.pictures[other].base
            if bases[0] != bases[1] and not couple_is_held_out(*bases):
                return other

    def arrange(
        self, first: int, relation: str, second: int, random: np.random.Generator, background: str = ""
    ) -> Scene:
        """Place two drawings so that the first is in `relation` to the second.

        The scene lists them from back to front: with `on` and `in front of` the first comes last.
        """

        def at(index: int, side: float, x: float, y: float) -> Placed:
            box = self.extents[index]
            scale = side / max(box[2] - box[0], box[3] - box[1])
            return place(index, box, scale, (x, y), self.may_mirror(index, random))

        near, far = 16 + random.uniform(-2, 2), 48 + random.uniform(-2, 2)
        middle = SIZE / 2 + random.uniform(-4, 4, 2)
        sides = random.uniform(25, 31, 2)
        if relation in ("next to", "and"):
            relation = str(random.choice(["left of", "right of"]))
        if relation in ("left of", "right of"):
            x = (near, far) if relation == "left of" else (far, near)
            objects = at(first, sides[0], x[0], middle[0]), at(second, sides[1], x[1], middle[1])
        elif relation in ("above", "below"):
            y = (near, far) if relation == "above" else (far, near)
            objects = at(first, sides[0], middle[0], y[0]), at(second, sides[1], middle[1], y[1])
        elif relation == "on":
            under = _standing(at(second, random.uniform(30, 38), middle[0], 0), SIZE - 3)
            top = at(first, random.uniform(22, 28), middle[0] + random.uniform(-3, 3), 0)
            height = under.box[3] - under.box[1]
            objects = under, _standing(top, under.box[1] + round(0.22 * height))
        else:
            back, front = (second, first) if relation == "in front of" else (first, second)
            behind = at(back, random.uniform(40, 48), middle[0], 28)
            before = at(front, random.uniform(22, 28), middle[0] + random.uniform(-8, 8), 0)
            objects = behind, _standing(before, min(SIZE - 2, behind.box[3] + 5))
        return Scene(objects, BACKGROUNDS.get(background, WHITE))

    def background(self, random: np.random.Generator) -> str:
        """Half of the time white, which captions do not mention; else a named colour."""
        colored, which = random.random(), int(random.integers(len(BACKGROUNDS)))
        return list(BACKGROUNDS)[which] if colored < COLORED else ""

    def may_mirror(self, index: int, random: np.random.Generator) -> bool:
        """Mirrored half of the time, but nothing with letters, digits or a side in its name."""
        return bool(random.random() < MIRRORED) and SIDED.search(label_of(self.pictures[index])) is None


def _standing(placed: Placed, bottom: int) -> Placed:
    """The same, moved vertically so that its box ends at `bottom`, but inside the picture."""
    height = placed.box[3] - placed.box[1]
    top = int(np.clip(bottom - height, 0, SIZE - height))
    return Placed(placed.index, (placed.box[0], top, placed.box[2], top + height), placed.mirrored)
