"""A run laid out: its noise levels, the model evaluations between them, and what the model is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..errors import PluginError, RequestError
from .noise_schedule import NoiseSchedule
from .plan import Slot, plan
from .prediction import denoised_weights
from .step import Options

if TYPE_CHECKING:
    from torch import Tensor, dtype

    from .specs import SolverSpec


@dataclass(frozen=True)
class Layout:
    """One run's interval; positions in it are indices of `slots`, one for each turn of a pipeline's loop."""

    solver: str
    levels: tuple[float, ...]
    """σ/α of each step's start, and where the last one ends."""
    slots: tuple[Slot, ...]
    times: tuple[float, ...]
    """Timestep of each slot."""
    alphas: tuple[float, ...]
    """α of each slot, and of where the run ends."""
    weights: tuple[tuple[float, float], ...]
    """Of sample and model output in the denoised sample, for each slot (`denoised_weights`)."""

    @cached_property
    def alpha_tensors(self) -> Mapping[dtype, tuple[Tensor, ...]]:
        """`alphas` as tensors without dimensions, by dtype: torch is quicker with these than with numbers."""
        import torch

        return {
            dtype: torch.tensor(self.alphas, dtype=dtype).unbind() for dtype in (torch.float32, torch.float64)
        }

    def start(self, timestep: float | Tensor) -> int:
        """Where a run that was not announced by `set_begin_index` starts.

        Raises:
            RequestError: a step starts with this timestep nowhere, or at several places.
        """
        time = float(timestep)
        places = [index for index in self.step_starts if _same(self.times[index], time)]
        if len(places) != 1:
            raise RequestError(
                f"timestep {time:g} starts {len(places)} steps of this run; call set_begin_index to say which"
            )
        return places[0]

    def check_start(self, index: int) -> None:
        """Raise a `RequestError` unless a step starts at this index, or the run ends there."""
        if not 0 <= index <= len(self.slots):
            raise RequestError(f"begin index {index} is not in 0 … {len(self.slots)}")
        if index < len(self.slots) and self.slots[index].stage:
            raise RequestError(
                f"solver {self.solver!r} cannot start at index {index}, within a step; "
                f"steps start at {self.step_starts}"
            )

    def turn(self, index: int, timestep: float | Tensor) -> Slot:
        """The evaluation at this index, if the caller is at its timestep.

        Raises:
            RequestError: the run is over, or the caller is somewhere else.
        """
        if index >= len(self.slots):
            raise RequestError(
                f"the run is over after {len(self.slots)} model evaluations; call set_timesteps"
            )
        # Reading a timestep from a GPU would wait for it; the index is what counts.
        on_cpu = getattr(timestep, "is_cpu", True)
        if on_cpu and not _same(self.times[index], float(timestep)):
            raise RequestError(
                f"step was called for timestep {float(timestep):g}, but turn {index} of this run is at "
                f"{self.times[index]:g}"
            )
        return self.slots[index]

    def check_next(self, index: int, sigma: float, *, within_step: bool) -> None:
        """Raise a `PluginError` unless the solver is where its dry run was."""
        if index == len(self.slots) and not within_step:
            return
        if index < len(self.slots):
            slot = self.slots[index]
            if slot.sigma == sigma and (slot.stage > 0) == within_step:
                return
        raise PluginError(
            f"solver {self.solver!r} asks for the model at σ = {sigma:.4g}, where its dry run did not: "
            "where a solver evaluates must not depend on the sample"
        )

    def sigma_of(self, timestep: float, after: int) -> float | None:
        """Noise level of a timestep of this run, the next at or after index `after` if it stands at several."""
        places = [index for index, time in enumerate(self.times) if _same(time, timestep)]
        if not places:
            return None
        return self.slots[min(places, key=lambda index: (index < after, abs(index - after)))].sigma

    @cached_property
    def step_starts(self) -> list[int]:
        """Indices of the slots in which a step begins."""
        return [index for index, slot in enumerate(self.slots) if not slot.stage]


def lay_out(
    solver: SolverSpec,
    levels: Sequence[float],
    options: Options,
    schedule: NoiseSchedule,
    prediction_type: str,
) -> Layout:
    """Find where the solver will evaluate the model.

    Raises:
        RequestError: `levels` are no interval.
        PluginError: the solver breaks its contract in the dry run.
    """
    slots = plan(solver, levels, options)
    times = tuple(schedule.timestep_at(slot.sigma) for slot in slots)
    alphas = tuple(schedule.alpha(sigma) for sigma in (*(slot.sigma for slot in slots), levels[-1]))
    weights = tuple(
        denoised_weights(prediction_type, alpha, slot.sigma)
        for alpha, slot in zip(alphas, slots, strict=False)
    )
    return Layout(solver.name, tuple(levels), slots, times, alphas, weights)


def _same(first: float, second: float) -> bool:
    # `timesteps` are float32, so what comes back is rounded; neighbours in a run are much further apart.
    return abs(first - second) <= 1e-5 * max(1.0, abs(first))
