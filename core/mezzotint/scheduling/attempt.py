"""Run a solver on one step with the model answers at hand, until it is done or asks for another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import PluginError
from .step import Options, Past, Step

if TYPE_CHECKING:
    from torch import Tensor

    from .specs import SolverSpec


@dataclass(frozen=True, eq=False)
class Question:
    """The solver wants the model's answer at (x, sigma)."""

    x: Tensor
    sigma: float


@dataclass(frozen=True, eq=False)
class Done:
    """The solver has its next x."""

    x: Tensor
    carry: Mapping[str, Tensor] = field(default_factory=dict)


class _Asked(BaseException):
    """Leaves the solver at its first unanswered question; no `except Exception` of a solver can stop it."""

    def __init__(self, question: Question) -> None:
        self.question = question


def attempt(
    solver: SolverSpec,
    x: Tensor,
    sigmas: Sequence[float],
    index: int,
    answers: Sequence[Tensor],
    history: tuple[Past, ...],
    options: Options,
    noise: Callable[[int], Tensor],
    unconditional: Tensor | None = None,
) -> Question | Done:
    """Call the solver on step `index` with the model's answers so far.

    A solver is pure, so it can be called again from the start each time an answer arrives: the replay.

    Args:
        x: sample at the start of the step, (n, c, h, w).
        sigmas: the whole interval.
        answers: denoised samples; the first is at the step's start, the others in the order of the
            solver's `s.denoise` calls.
        noise: from stage to noise of this step.
        unconditional: denoised sample at the step's start without guidance, for solvers that declare it.

    Raises:
        PluginError: the solver asks at an impossible noise level or returns something that is no sample.
    """
    asked = 0

    def denoise(at: Tensor, sigma: float) -> Tensor:
        nonlocal asked
        if not (sigma > 0 and math.isfinite(sigma)):
            raise PluginError(f"solver {solver.name!r} asks for the model at σ = {sigma} in step {index}")
        asked += 1
        if asked < len(answers):
            return answers[asked]
        raise _Asked(Question(at, float(sigma)))

    step = Step(
        x=x,
        sigma=sigmas[index],
        sigma_next=sigmas[index + 1],
        denoised=answers[0],
        index=index,
        steps=len(sigmas) - 1,
        history=history,
        options=options,
        _denoise=denoise,
        _noise=noise,
        _unconditional=unconditional,
    )
    try:
        result = solver(step)
    except _Asked as asking:
        return asking.question
    done = Done(*result) if isinstance(result, tuple) else Done(result)
    shape = getattr(done.x, "shape", None)
    if shape != x.shape:
        of = "" if shape is None else f" of shape {tuple(shape)}"
        raise PluginError(
            f"solver {solver.name!r} returned {type(done.x).__name__}{of} in step {index}, not a sample of shape "
            f"{tuple(x.shape)}"
        )
    return done
