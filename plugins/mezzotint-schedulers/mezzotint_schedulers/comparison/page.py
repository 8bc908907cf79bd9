"""A report on disk: one HTML page with everything in it, its numbers as JSON, and the grid as a picture."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .grid import grid
from .pictures import data_url, decode, spread
from .plots import error_plots
from .report import Report

if TYPE_CHECKING:
    from PIL.Image import Image

STRIP = 8
"""Pictures in a strip of predictions."""


def save(report: Report, pipe: Any, folder: Path) -> dict[str, Path]:
    """Write `report.html`, `report.json` and `grid.png` into a new folder, and say where each is."""
    paths = {name: folder / name for name in ("report.html", "report.json", "grid.png")}
    folder.mkdir(parents=True, exist_ok=True)
    paths["report.html"].write_text(html(report, pipe), encoding="utf-8")
    paths["report.json"].write_text(
        json.dumps(report.as_data(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    grid(report).save(paths["grid.png"])
    return paths


def html(report: Report, pipe: Any) -> str:
    """The page."""
    from jinja2 import Environment
    from markupsafe import Markup

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["data_url"] = data_url
    template = environment.from_string(
        resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    )
    best = min((one.distance for one in report.outcomes if one.distance is not None), default=None)
    return template.render(
        report=report,
        plots={name: Markup(svg) for name, svg in error_plots(report.outcomes).items()},
        strips=_strips(report, pipe),
        best=best,
        pixelated=report.outcomes[0].image.width <= 128,
    )


def _strips(report: Report, pipe: Any) -> dict[str, list[tuple[float, Image]]]:
    """Row → predicted pictures with their timesteps."""
    import torch

    strips: dict[str, list[tuple[float, Image]]] = {}
    for one in report.outcomes:
        if one.moments and one.cell.row not in strips:
            chosen = spread(one.moments, STRIP)
            pictures = decode(pipe, torch.cat([moment.predicted for moment in chosen]))
            label = f"{one.cell.row}, {one.cell.steps} steps"
            strips[label] = [
                (moment.timestep, picture) for moment, picture in zip(chosen, pictures, strict=True)
            ]
    return strips
