"""What a comparison found, as data."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .cells import Cell
from .forward import Level
from .running import Outcome, Request

if TYPE_CHECKING:
    from PIL.Image import Image


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
