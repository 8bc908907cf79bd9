"""Do pictures follow outlines that were never trained on, and do they still show what the prompt names?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mezzotint_emoji.recipe.captions import label_of

from ..command import Demo
from ..drawing import draw, with_control
from ..markdown import markdown
from ..shares import Measured, mean, ratio, share
from ..sheet import write_sheet
from .pictures import Asked, edge_f1, held_out, outline, through_vae

SCALES = {"without": 0.0, "with control": 1.0}
DRAWING = "the drawing itself"
PLACES = {"as drawn": False, "moved": True}
"""Whether the outlines are those of drawings in a random size and place."""
SHOWN = 8


def show(demo: Demo, network: Path) -> Path:
    """Outlines of both kinds, and what is drawn with and without them from the same noise."""
    columns: dict[str, list[np.ndarray]] = {"outline": [], "with control": [], "without": []}
    rows: list[str] = []
    for moved in PLACES.values():
        asked, drawn = _drawn(demo, network, moved)
        spread = slice(None, None, max(1, len(asked.prompts) // SHOWN))
        for name, pictures in {**drawn, "outline": np.stack(asked.outlines)}.items():
            columns[name] += [*pictures[spread]]
        rows += asked.prompts[spread]
    return write_sheet(
        demo.folder / "edges.png", {name: np.stack(cells) for name, cells in columns.items()}, rows
    )


def measure(demo: Demo, network: Path) -> dict[str, Measured]:
    """Over held-out pairs of concept and style, `as drawn` and `moved`; by `with control`, `without`, and `the drawing
    itself`: what the outlines are of, through the VAE, as near as any picture of the model can come.

    * `edge F1`: harmonic mean of the shares of asked and of drawn edge pixels that have one of the other within one
      pixel; `edge F1, exact`: at the same pixel.
    * `R@5 names`: pictures whose name is among the scorer's five nearest; `kept`: with control, relative to without.
    """
    figures = {}
    for place, moved in PLACES.items():
        asked, drawn = _drawn(demo, network, moved)
        labels = [label_of(picture) for picture in asked.pictures]
        found = {}
        for name, pictures in {**drawn, DRAWING: through_vae(demo.pipe, asked.drawings)}.items():
            made = [outline(demo.pipe, picture) for picture in pictures]
            for kind, within in (("edge F1", 1), ("edge F1, exact", 0)):
                values = [edge_f1(*pair, within) for pair in zip(asked.outlines, made, strict=True)]
                figures[f"{kind}, {place}, {name}"] = mean(np.array(values))
            found[name] = demo.emoji.finds_name(pictures, labels)
            figures[f"R@5 names, {place}, {name}"] = share(found[name])
        figures[f"kept, {place}"] = ratio(found["with control"], found["without"])
    return figures


def table(figures: Mapping[str, Measured]) -> str:
    """In Markdown."""
    rows = {
        "edge F1, within one pixel": "edge F1",
        "edge F1, at the same pixel": "edge F1, exact",
        "name among the five nearest": "R@5 names",
    }
    kept = ", ".join(f"{place} {figures[f'kept, {place}']}" for place in PLACES)
    return markdown(
        ["outlines", "", *SCALES, DRAWING],
        (
            [place, title, *(figures[f"{key}, {place}, {name}"] for name in (*SCALES, DRAWING))]
            for place in PLACES
            for title, key in rows.items()
        ),
        f"{figures['edge F1, as drawn, without'].count} held-out pairs of concept and style; moved: in a random size and "
        f"place, of which the prompt says nothing; 95 % intervals in brackets. {DRAWING.capitalize()} went through the VAE "
        f"once. Names found with control, relative to without: {kept}.",
    )


def _drawn(demo: Demo, network: Path, moved: bool) -> tuple[Asked, dict[str, np.ndarray]]:
    asked = held_out(demo.emoji, demo.pipe, demo.count, moved=moved)
    drawn = {
        name: draw(
            demo.pipe, asked.prompts, demo.kept, name, use=with_control(network, asked.outlines, scale)
        )
        for name, scale in SCALES.items()
    }
    return asked, drawn
