"""Before and after on concepts that were not trained on: a sheet, the share in the style, and retrieval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from mezzotint_emoji.recipe.captions import full_caption, label_of
from mezzotint_emoji.recipe.data import to_tensor
from mezzotint_emoji.recipe.manifest import Picture
from mezzotint_emoji.recipe.render import on_background

from ..command import Demo
from ..drawing import draw, with_lora
from ..emoji import Emoji
from ..markdown import markdown
from ..shares import Measured, ratio, share
from ..sheet import write_sheet
from .classifier import Classifier, features_of, through_vae, train_classifier
from .judging import judge_of_both
from .pictures import PHRASE, STYLE, Twemoji, captions, in_own_style

WEIGHTS = (0.0, 0.5, 1.0, 1.5)
SHOWN = (
    "rocket",
    "balloon",
    "mushroom",
    "whale",
    "snake",
    "broccoli",
    "pig",
    "tent",
    "crocodile",
    "cherry blossom",
)


def show(demo: Demo, twemoji: Twemoji, lora: Path) -> Path:
    """A row for each of ten held-out concepts; a column for the base, for each weight, and for Twemoji's own drawing."""
    held_out = {label_of(picture): picture for picture in twemoji.held_out}
    # Where the split has put one of them into the training, the next in line is shown.
    names = [name for name in SHOWN if name in held_out]
    names += [name for name in held_out if name not in names][: len(SHOWN) - len(names)]
    shown = [held_out[name] for name in names]
    prompts = [captions(picture)[0] for picture in shown]
    columns = {"base": draw(demo.pipe, [in_own_style(each) for each in shown], demo.kept, "sheet, base")}
    for weight in WEIGHTS:
        title = f"sheet, weight {weight:g}"
        columns[f"{weight:g}"] = draw(demo.pipe, prompts, demo.kept, title, use=with_lora(lora, weight))
    columns["Twemoji"] = twemoji.pixels(shown)
    return write_sheet(demo.folder / "style.png", columns, names)


def measure(demo: Demo, twemoji: Twemoji, lora: Path) -> dict[str, Measured]:
    """By name, over held-out concepts.

    * `style, …`: pictures that the classifier takes for Twemoji: the base's asked for in its own words, those at each weight,
      and real ones of both sets. It is trained on the two sets' pictures of all other concepts: Twemoji's, and the flat
      set's, which is the style that the training starts from.
    * `R@5 pictures, …`: pictures for which the scorer has the concept's real picture among the five nearest; of the base
      among the flat set, of the LoRA among Twemoji, both of the same concepts. `kept`: at weight 1, relative to the base.
    * `R@5 names, …`: pictures whose name is among the five nearest names. `names kept`: at weight 1, relative to the base.
    * `…, new to the base`: the base, asked for the same concepts in styles of its own in which it has never seen them, as
      the LoRA has never seen them in Twemoji's; `… kept of what is new`: at weight 1, relative to that.

    The scorer has seen Twemoji's pictures of other concepts (`judge_of_both`): what it makes of the real pictures of these
    is how much it can find. Neither has it seen those that are new to the base.
    """
    gallery, flat = _galleries(demo, twemoji)
    new = {picture.base: picture for picture in demo.emoji.data.split("pair").pictures if not picture.skin}
    often = {picture.base for picture in demo.emoji.data.drawn_often().pictures if picture.style == STYLE}
    # What the base has seen in its own style, where it is at its best, and not in another.
    bases_asked = flat.keys() & often & new.keys()
    asked = [picture for picture in twemoji.held_out if picture.base in bases_asked][: demo.count]
    classifier, figures = _classifier(demo, gallery, flat, asked)
    emoji = judge_of_both(demo, twemoji, asked)

    bases, labels = [each.base for each in asked], [label_of(each) for each in asked]

    def add(name: str, pixels: np.ndarray, among: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        found = emoji.finds_picture(pixels, bases, np.stack(list(among.values())), list(among))
        named = emoji.finds_name(pixels, labels)
        features = features_of(demo.emoji.judge.scorer, to_tensor(pixels))
        figures[f"style, {name}"] = share(classifier.is_second(features))
        figures[f"R@5 pictures, {name}"] = share(found)
        figures[f"R@5 names, {name}"] = share(named)
        return found, named

    base = add("base", draw(demo.pipe, [in_own_style(each) for each in asked], demo.kept, "base"), flat)
    unseen = [new[each.base] for each in asked]
    drawn = draw(demo.pipe, [full_caption(each) for each in unseen], demo.kept, "new to the base")
    new_to_base = _finds_in_their_styles(emoji, drawn, unseen), emoji.finds_name(drawn, labels)
    for kind, found in zip(("pictures", "names"), new_to_base, strict=True):
        figures[f"R@5 {kind}, new to the base"] = share(found)
    prompts = [captions(each)[0] for each in asked]
    for weight in WEIGHTS:
        name = f"weight {weight:g}"
        found = add(name, draw(demo.pipe, prompts, demo.kept, name, use=with_lora(lora, weight)), gallery)
        if weight == 1:
            for kept, ours, theirs, like in zip(
                ("kept", "names kept"), found, base, new_to_base, strict=True
            ):
                figures[kept] = ratio(ours, theirs)
                figures[f"{kept} of what is new"] = ratio(ours, like)
    for name, pictures in (("flat", flat), ("Twemoji", gallery)):
        real = np.stack([pictures[picture.base] for picture in asked])
        figures[f"R@5 names, {name}"] = share(emoji.finds_name(real, labels))
    return figures


def _galleries(demo: Demo, twemoji: Twemoji) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Twemoji's pictures and those of the flat set by code point, of the same concepts."""
    data = demo.emoji.data
    drawn = {picture.base: k for k, picture in enumerate(data.pictures) if picture.style == STYLE}
    both = [picture for picture in twemoji.known if picture.base in drawn]
    bases = [picture.base for picture in both]
    flat = on_background(data.pixels[[drawn[base] for base in bases]])
    return dict(zip(bases, twemoji.pixels(both), strict=True)), dict(zip(bases, flat, strict=True))


def _finds_in_their_styles(emoji: Emoji, pixels: np.ndarray, asked: list[Picture]) -> np.ndarray:
    """For each picture (n, 64, 64, 3), whether the real one is among the five nearest of its style, (n,) bool."""
    found = np.zeros(len(asked), dtype=bool)
    for style in {picture.style for picture in asked}:
        places = [place for place, picture in enumerate(asked) if picture.style == style]
        real = emoji.data.where(lambda picture, style=style: picture.style == style and not picture.skin)
        bases, theirs = [asked[place].base for place in places], [picture.base for picture in real.pictures]
        found[places] = emoji.finds_picture(pixels[places], bases, on_background(real.pixels), theirs)
    return found


def _classifier(
    demo: Demo, gallery: Mapping[str, np.ndarray], flat: Mapping[str, np.ndarray], asked: list[Picture]
) -> tuple[Classifier, dict[str, Measured]]:
    held_out = {picture.base for picture in asked}

    def features(title: str, pictures: Mapping[str, np.ndarray], *, held: bool) -> torch.Tensor:
        chosen = [pixels for base, pixels in pictures.items() if (base in held_out) == held]
        return features_of(demo.emoji.judge.scorer, through_vae(demo.pipe.vae, np.stack(chosen), title))

    classifier = train_classifier(
        lambda: (
            features("classifier, flat", flat, held=False),
            features("classifier, Twemoji", gallery, held=False),
        ),
        demo.kept / f"classifier-{demo.pipe.fingerprint[:12]}-{len(asked)}.safetensors",
    )
    return classifier, {
        "style, Twemoji": share(classifier.is_second(features("Twemoji", gallery, held=True))),
        "style, flat": share(classifier.is_second(features("flat", flat, held=True))),
    }


def table(figures: Mapping[str, Measured]) -> str:
    """In Markdown."""
    rows = {
        f"the base, `{PHRASE} of …`": "base",
        "the base, in a style in which it has never seen it": "new to the base",
    }
    rows |= {name: name for name in (f"weight {weight:g}" for weight in WEIGHTS)}
    rows |= {"real pictures of the flat set": "flat", "real pictures of Twemoji": "Twemoji"}
    kinds = ("style", "R@5 pictures", "R@5 names")
    return markdown(
        [
            "drawn by",
            "taken for Twemoji",
            "its picture among the five nearest",
            "its name among the five nearest",
        ],
        ([title, *(figures.get(f"{kind}, {name}", "") for kind in kinds)] for title, name in rows.items()),
        f"{figures['kept'].count} concepts that are not among the 200; 95 % intervals in brackets. At weight 1, relative to the "
        f"base in a style in which it has never seen them: names {figures['names kept of what is new']}, pictures "
        f"{figures['kept of what is new']}; relative to its best: names {figures['names kept']}, pictures {figures['kept']}.",
    )
