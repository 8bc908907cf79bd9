"""Run the cells and the reference, and measure how far apart they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mezzotint.errors import MezzotintError
from mezzotint.scheduling import make_scheduler

from ..solvers.dpmpp import dpmpp_2m
from ..spacings.comfy import uniform
from .cells import Cell, Planned, scheduler_of, why_no_limit
from .recorder import Moment, Recorder, moments

if TYPE_CHECKING:
    from PIL.Image import Image

OnStep = Callable[[Any], None]


@dataclass(frozen=True)
class Request:
    """What all runs have in common."""

    prompt: str
    negative: str | None
    seed: int
    guidance: float | None

    def arguments(self) -> dict[str, Any]:
        """For the pipeline's call, besides the prompt."""
        return {"negative": self.negative, "seed": self.seed, "guidance": self.guidance}


@dataclass(frozen=True, eq=False)
class Outcome:
    """A cell that ran."""

    cell: Cell
    evaluations: int
    """Model evaluations, each of one batch with all guidance passes."""
    seconds: float
    """Of the sampling loop, without text encoder and VAE."""
    distance: float | None
    """Root mean square distance of the latents from the reference, over the reference's standard deviation."""
    why_none: str
    """Why there is no distance."""
    latents: Any
    image: Image
    moments: tuple[Moment, ...] = ()


class Reference:
    """Where every solver of the guided ODE must arrive: the end of a run of very many small steps.

    Some solvers, as diffusers has them, start at σ_max z instead of sqrt(1 + σ_max²) z, 0.2 % less for
    Stable Diffusion; what they solve starts there, and so they have a reference of their own.
    """

    def __init__(self, pipe: Any, request: Request, steps: int, on_step: OnStep) -> None:
        self.pipe = pipe
        self.request = request
        self.steps = steps
        self._on_step = on_step
        self._results: dict[str, Any] = {}

    @property
    def image(self) -> Image:
        """The picture of the run from the usual start."""
        image: Image = self._results["marginal"].images[0]
        return image

    def run(self, start: str) -> None:
        """Make the run that starts so, if it is not there yet.

        Raises:
            MezzotintError: solvers cannot follow this model's noise schedule.
        """
        if start not in self._results:
            self._results[start] = self._run(start)

    def distance(self, latents: Any, start: str) -> float:
        """Root mean square distance over the standard deviation, of the run with the same start."""
        end = self._results[start].latents.float()
        return float((latents.float() - end).square().mean().sqrt() / end.std())

    def _run(self, start: Any) -> Any:
        scheduler = make_scheduler(
            replace(dpmpp_2m, start=start),
            spacing=uniform,
            like=self.pipe.scheduler,
            schedulers={},
            families={},
            spacings={},
        )
        return self.pipe(
            self.request.prompt,
            scheduler=scheduler,
            steps=self.steps,
            on_step=self._on_step,
            **self.request.arguments(),
        )


def run_cells(
    pipe: Any,
    request: Request,
    planned: Sequence[Planned],
    reference: Reference | None,
    *,
    recorded: Callable[[Cell], bool],
    on_start: Callable[[Cell], None],
    on_step: OnStep,
    on_end: Callable[[], None],
) -> Iterator[Outcome | tuple[Cell, str]]:
    """Run every cell from the same noise; one that fails gives its sentence, and the others go on.

    Args:
        recorded: whether to write down what a cell passes through.
        on_start, on_step, on_end: for a progress bar; `on_step` may raise to end everything.
    """
    for plan in planned:
        cell = plan.cell
        on_start(cell)
        last: list[Any] = []

        def step(progress: Any, last: list[Any] = last) -> None:
            last[:] = [progress]
            on_step(progress)

        recorder = [Recorder()] if recorded(cell) else []
        try:
            result = pipe(
                request.prompt,
                scheduler=scheduler_of(pipe, cell),
                steps=cell.steps,
                use=recorder,
                on_step=step,
                **request.arguments(),
            )
        except MezzotintError as error:
            yield cell, str(error)
            on_end()
            continue
        why_none = why_no_limit(pipe, cell) if reference is not None else "no reference"
        distance = None
        if reference is not None and not why_none:
            distance = reference.distance(result.latents, start_of(pipe, cell))
        yield Outcome(
            cell,
            last[0].count,
            last[0].seconds,
            distance,
            why_none,
            result.latents,
            result.images[0],
            tuple(moments(result)) if recorder else (),
        )
        on_end()


def start_of(pipe: Any, cell: Cell) -> str:
    """How large the first noise of a cell is, as `scheduler_start` says."""
    scheduler = scheduler_of(pipe, cell)
    scheduler.set_timesteps(cell.steps)
    return scheduler_start(scheduler)


def scheduler_start(scheduler: Any) -> str:
    """`marginal` if what the model sees first is unit noise; `spacing` if it is σ_max z, a little less."""
    import torch

    noise = torch.ones(1, 1, 1, 1) * float(getattr(scheduler, "init_noise_sigma", 1.0))
    if hasattr(scheduler, "scale_model_input"):
        noise = scheduler.scale_model_input(noise, scheduler.timesteps[0])
    return "marginal" if abs(float(noise) - 1) < 1e-4 else "spacing"


def starts(pipe: Any, planned: Sequence[Planned]) -> set[str]:
    """The kinds of start among the cells that have a limit."""
    return {start_of(pipe, plan.cell) for plan in planned if not why_no_limit(pipe, plan.cell)}
