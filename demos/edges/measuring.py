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
from .pictures import Asked, edge_f1, held_out, outline

SCALES = {"without": 0.0, "with control": 1.0}
SHOWN = 16


def show(demo: Demo, network: Path) -> Path:
    """Outlines, and what is drawn with and without them from the same noise."""
    asked, drawn = _drawn(demo, network)
    columns = {"outline": np.stack(asked.outlines), **dict(reversed(drawn.items()))}
    return write_sheet(
        demo.folder / "edges.png",
        {name: pictures[:SHOWN] for name, pictures in columns.items()},
        asked.prompts[:SHOWN],
    )


def measure(demo: Demo, network: Path) -> dict[str, Measured]:
    """By name, `with control` and `without`, over held-out pairs of concept and style in random places.

    * `edge F1`: harmonic mean of the shares of asked and of drawn edge pixels that have one of the other within one
      pixel; `edge F1, exact`: at the same pixel.
    * `R@5 names`: pictures whose name is among the scorer's five nearest; `kept`: with control, relative to without.
    """
    asked, drawn = _drawn(demo, network)
    labels = [label_of(picture) for picture in asked.pictures]
    figures, found = {}, {}
    for name, pictures in drawn.items():
        made = [outline(demo.pipe, picture) for picture in pictures]
        for kind, within in (("edge F1", 1), ("edge F1, exact", 0)):
            values = [edge_f1(*pair, within) for pair in zip(asked.outlines, made, strict=True)]
            figures[f"{kind}, {name}"] = mean(np.array(values))
        found[name] = demo.emoji.finds_name(pictures, labels)
        figures[f"R@5 names, {name}"] = share(found[name])
    figures["kept"] = ratio(found["with control"], found["without"])
    return figures


def table(figures: Mapping[str, Measured]) -> str:
    """In Markdown."""
    rows = {
        "edge F1, within one pixel": "edge F1",
        "edge F1, at the same pixel": "edge F1, exact",
        "name among the five nearest": "R@5 names",
    }
    return markdown(
        ["", *SCALES],
        ([title, *(figures[f"{key}, {name}"] for name in SCALES)] for title, key in rows.items()),
        f"{figures['edge F1, without'].count} held-out pairs of concept and style in random places; 95 % intervals in "
        f"brackets. Names found with control, relative to without: {figures['kept']}.",
    )


def _drawn(demo: Demo, network: Path) -> tuple[Asked, dict[str, np.ndarray]]:
    asked = held_out(demo.emoji, demo.pipe, demo.count)
    drawn = {
        name: draw(
            demo.pipe, asked.prompts, demo.kept, name, use=with_control(network, asked.outlines, scale)
        )
        for name, scale in SCALES.items()
    }
    return asked, drawn
