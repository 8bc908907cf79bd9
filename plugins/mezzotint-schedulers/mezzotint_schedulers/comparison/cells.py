"""What is compared: every solver × spacing × number of steps, as far as there is such a scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mezzotint.errors import MezzotintError
from mezzotint.scheduling import SolverSpec, find_scheduler, find_spacing, make_scheduler

OWN = "own"
"""Stands for the spacing of the model's own scheduler."""


@dataclass(frozen=True)
class Cell:
    """One run."""

    solver: str
    spacing: str
    """A name, or `own`."""
    steps: int

    @property
    def row(self) -> str:
        """Solver and spacing, as one label."""
        return self.solver if self.spacing == OWN else f"{self.solver} · {self.spacing}"


@dataclass(frozen=True)
class Planned:
    """A cell that can run."""

    cell: Cell
    evaluations: int
    """Model evaluations that the run will make."""


def check_names(registry: Any, solvers: Sequence[str], spacings: Sequence[str]) -> None:
    """Say at once what is misspelt, before a model is loaded.

    Raises:
        UnknownNameError: no scheduler or spacing of that name; near misses are named.
    """
    for name in solvers:
        find_scheduler(name, registry.schedulers, registry.families)
    for name in spacings:
        if name != OWN:
            find_spacing(name, registry.spacings)


def plan_cells(
    pipe: Any, solvers: Sequence[str], spacings: Sequence[str], steps: Sequence[int]
) -> tuple[list[Planned], dict[Cell, str]]:
    """Cells that can run, and those that cannot with the reason: a class without that spacing, too many steps."""
    planned: list[Planned] = []
    left_out: dict[Cell, str] = {}
    for solver in solvers:
        for spacing in spacings:
            for number in steps:
                cell = Cell(solver, spacing, number)
                try:
                    scheduler: Any = scheduler_of(pipe, cell)
                    scheduler.set_timesteps(number)
                except (MezzotintError, ValueError, IndexError) as error:
                    left_out[cell] = str(error)
                else:
                    planned.append(Planned(cell, len(scheduler.timesteps)))
    return planned, left_out


def scheduler_of(pipe: Any, cell: Cell) -> Any:
    """A fresh scheduler, as the pipeline makes it.

    Raises:
        MezzotintError: there is no such scheduler.
    """
    return make_scheduler(
        cell.solver,
        spacing=None if cell.spacing == OWN else cell.spacing,
        like=pipe.scheduler,
        schedulers=pipe.registry.schedulers,
        families=pipe.registry.families,
        spacings=pipe.registry.spacings,
    )


def why_no_limit(pipe: Any, cell: Cell) -> str:
    """Why more steps lead nowhere in particular; empty for a method that converges."""
    spec = find_scheduler(cell.solver, pipe.registry.schedulers, pipe.registry.families)
    if isinstance(spec, SolverSpec):
        if spec.unconditional:
            return "guides more with more steps"
        if spec.accuracy_order == 0:
            return "for distilled models"
        return "random" if spec.stochastic else ""
    return "random" if _draws_noise(scheduler_of(pipe, cell)) else ""


def _draws_noise(scheduler: Any) -> bool:
    """Whether two runs of a scheduler from the same sample, with other seeds, end apart."""
    import inspect

    import torch

    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    ends = []
    for seed in (1, 2):
        scheduler.set_timesteps(3)
        x = torch.ones(1, 1, 2, 2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            extra = {"generator": torch.Generator().manual_seed(seed)} if takes_generator else {}
            for t in scheduler.timesteps:
                seen = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
                x = scheduler.step(torch.tanh(seen), t, x, **extra, return_dict=False)[0]
        ends.append(x)
    return not torch.equal(*ends)
