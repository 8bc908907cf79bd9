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
    """By name, over `twemoji.measured`, of which the training has seen no picture.

    * `style, …`: pictures that the classifier takes for Twemoji: the base's asked for in its own words, those at each weight,
      and real ones of both sets. It is trained on the two sets' pictures of all other concepts: Twemoji's, and the flat
      set's, which is the style that the training starts from.
    * `R@5 pictures, …`: pictures for which the scorer has the concept's real picture among the five nearest; of the base
      among the flat set, of the LoRA among Twemoji, both of the same concepts.
    * `R@5 names, …`: pictures whose name is among the five nearest names, for a scorer that has seen Twemoji's pictures of
      other concepts (`judge_of_both`): what it makes of the real pictures of these is how much it can find. It has seen
      the flat set's pictures of these, though.
    * `R@5 names, both sets seen, …`: for a scorer that has seen either set's pictures of these.
    * `…, new to the base`: the base, asked for concepts in styles of its own in which it has never seen them, as the LoRA has
      never seen them in Twemoji's. The scorers have not either.
    * `kept …`: at weight 1, relative to the base.
    """
    gallery, flat = _galleries(demo, twemoji)
    asked = twemoji.measured(demo.count)
    bases, labels = [each.base for each in asked], [label_of(each) for each in asked]
    new = _new_to_base(demo, twemoji)
    classifier, figures = _classifier(demo, gallery, flat, asked)
    emoji = judge_of_both(demo, twemoji, [*asked, *new])
    scorers = {"R@5 names": emoji, "R@5 names, both sets seen": judge_of_both(demo, twemoji, [])}

    def add(name: str, pixels: np.ndarray, among: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = {kind: scorer.finds_name(pixels, labels) for kind, scorer in scorers.items()}
        found["R@5 pictures"] = emoji.finds_picture(
            pixels, bases, np.stack(list(among.values())), list(among)
        )
        features = features_of(demo.emoji.judge.scorer, to_tensor(pixels))
        found["style"] = classifier.is_second(features)
        figures.update({f"{kind}, {name}": share(hits) for kind, hits in found.items()})
        return found

    base = add("base", draw(demo.pipe, [in_own_style(each) for each in asked], demo.kept, "base"), flat)
    drawn = draw(demo.pipe, [full_caption(each) for each in new], demo.kept, "new to the base")
    like = {
        "R@5 pictures": _finds_in_their_styles(emoji, drawn, new),
        **{
            kind: scorer.finds_name(drawn, [label_of(each) for each in new])
            for kind, scorer in scorers.items()
        },
    }
    figures.update({f"{kind}, new to the base": share(hits) for kind, hits in like.items()})
    prompts = [captions(each)[0] for each in asked]
    for weight in WEIGHTS:
        name = f"weight {weight:g}"
        ours = add(name, draw(demo.pipe, prompts, demo.kept, name, use=with_lora(lora, weight)), gallery)
        if weight == 1:
            for kind in like:
                figures[f"kept of {kind}"] = ratio(ours[kind], base[kind])
                figures[f"kept of {kind}, new"] = ratio(ours[kind], like[kind], paired=False)
    for name, pictures in (("flat", flat), ("Twemoji", gallery)):
        real = np.stack([pictures[base] for base in bases])
        for kind, scorer in scorers.items():
            figures[f"{kind}, {name}"] = share(scorer.finds_name(real, labels))
    return figures


def _new_to_base(demo: Demo, twemoji: Twemoji) -> list[Picture]:
    """The base's own drawings of held-out concepts that are kept from its training, though others of the concept are in it."""
    pairs = {picture.base: picture for picture in demo.emoji.data.split("pair").pictures if not picture.skin}
    return [pairs[each.base] for each in twemoji.comparable if each.base in pairs]


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
    kinds = {
        "taken for Twemoji": "style",
        "its picture among the five nearest": "R@5 pictures",
        "its name among the five nearest": "R@5 names",
        "… for a scorer that has seen both sets": "R@5 names, both sets seen",
    }
    kept = {
        kind: (figures[f"kept of {kind}"], figures[f"kept of {kind}, new"])
        for kind in list(kinds.values())[1:]
    }
    (pictures, names, names_seen) = kept.values()
    return markdown(
        ["drawn by", *kinds],
        (
            [title, *(figures.get(f"{kind}, {name}", "") for kind in kinds.values())]
            for title, name in rows.items()
        ),
        f"{names[0].count} concepts that are not among the 200; second line: {figures['R@5 names, new to the base'].count}; 95 % "
        f"intervals in brackets. At weight 1, relative to the base at its best: pictures {pictures[0]}, names {names[0]}, for the "
        f"scorer that has seen both sets {names_seen[0]}; relative to the base in a style in which it has never seen the "
        f"concept: pictures {pictures[1]}, names {names[1]}.",
    )
