"""The report: one HTML page with everything in it, its numbers as JSON, and the grid as a picture."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cells import Cell
from .forward import Level
from .pictures import data_url, decode, spread
from .plots import error_plots
from .running import Outcome, Request

if TYPE_CHECKING:
    from PIL.Image import Image

STRIP = 8
"""Pictures in a strip of predictions."""


@dataclass(frozen=True, eq=False)
class Report:
    """What a comparison found."""

    request: Request
    model: str
    outcomes: Sequence[Outcome]
    failed: dict[Cell, str]
    """Cells that did not run, with the reason."""
    reference: Image | None
    reference_steps: int
    forward: Sequence[Level] = ()
    setting: dict[str, str] = field(default_factory=dict)
    """Device, number type, size: what the seconds depend on."""

    @property
    def rows(self) -> list[str]:
        """Solver · spacing, in the order in which they were asked for."""
        return list(dict.fromkeys(one.row for one in self._cells()))

    @property
    def columns(self) -> list[int]:
        """Numbers of steps."""
        return sorted({one.steps for one in self._cells()})

    def _cells(self) -> list[Cell]:
        return [one.cell for one in self.outcomes] + list(self.failed)

    def at(self, row: str, steps: int) -> Outcome | str:
        """The run of a place in the grid, or why there is none."""
        for one in self.outcomes:
            if (one.cell.row, one.cell.steps) == (row, steps):
                return one
        return next((why for cell, why in self.failed.items() if (cell.row, cell.steps) == (row, steps)), "")

    def as_data(self) -> dict[str, Any]:
        """Plain data (JSON types)."""
        return {
            "prompt": self.request.prompt,
            "negative": self.request.negative,
            "seed": self.request.seed,
            "guidance": self.request.guidance,
            "model": self.model,
            "reference": {"solver": "dpmpp-2m", "spacing": "uniform", "steps": self.reference_steps}
            if self.reference
            else None,
            "setting": self.setting,
            "runs": [
                {
                    "solver": one.cell.solver,
                    "spacing": one.cell.spacing,
                    "steps": one.cell.steps,
                    "evaluations": one.evaluations,
                    "seconds": round(one.seconds, 4),
                    "distance": one.distance,
                    "why_no_distance": one.why_none or None,
                }
                for one in self.outcomes
            ],
            "failed": [
                {"solver": cell.solver, "spacing": cell.spacing, "steps": cell.steps, "why": why}
                for cell, why in self.failed.items()
            ],
        }


def setting_of(pipe: Any) -> dict[str, str]:
    """What the seconds depend on."""
    import torch

    cuda = pipe.device.type == "cuda"
    device = torch.cuda.get_device_name(pipe.device) if cuda else platform.processor() or platform.machine()
    return {
        "device": f"{pipe.device} ({device}, {torch.get_num_threads()} threads)"
        if not cuda
        else f"{pipe.device} ({device})",
        "number type": str(pipe.dtype).removeprefix("torch."),
        "versions": ", ".join(f"{name} {version(name)}" for name in ("mezzotint", "torch", "diffusers")),
    }


def save(report: Report, pipe: Any, folder: Path) -> dict[str, Path]:
    """Write `report.html`, `report.json` and `grid.png` into a new folder, and say where each is."""
    paths = {name: folder / name for name in ("report.html", "report.json", "grid.png")}
    folder.mkdir(parents=True, exist_ok=True)
    paths["report.html"].write_text(html(report, pipe), encoding="utf-8")
    paths["report.json"].write_text(
        json.dumps(report.as_data(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    from .grid import grid

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
