"""Which model evaluations a solver will make over an interval, found before the first one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ..errors import MezzotintError, PluginError, RequestError
from .attempt import Done, Question, attempt
from .step import Options, Past

if TYPE_CHECKING:
    from torch import Tensor

    from .specs import SolverSpec


@dataclass(frozen=True)
class Slot:
    """One model evaluation: one turn of a pipeline's loop."""

    step: int
    stage: int
    """0 at the start of a step, then one for each `s.denoise` of the solver."""
    sigma: float
    """Noise level (in the variance-exploding frame) at which the model is asked."""


def plan(solver: SolverSpec, sigmas: Sequence[float], options: Options) -> tuple[Slot, ...]:
    """Dry-run the solver on a single zero to learn where it will evaluate the model.

    Where a solver evaluates must depend on noise levels and options only, not on the sample.

    Raises:
        RequestError: `sigmas` are no interval.
        PluginError: the solver fails, or no step makes as many evaluations as it declares.
    """
    import torch

    check_sigmas(sigmas)
    zero = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    slots: list[Slot] = []
    counts: list[int] = []
    history: tuple[Past, ...] = ()
    for index in range(len(sigmas) - 1):
        slots.append(Slot(index, 0, sigmas[index]))
        answers = [zero]
        while not isinstance(outcome := _tried(solver, zero, sigmas, index, answers, history, options), Done):
            slots.append(Slot(index, len(answers), outcome.sigma))
            answers.append(zero)
        counts.append(len(answers))
        history = remember(solver, history, Past(zero, sigmas[index], zero, outcome.carry))
    # Of two steps, one may be the last and the other one that goes back up; neither is a usual one then.
    if solver.evals_per_step not in counts and (
        len(counts) > 2 or (len(counts) > 1 and max(counts) < solver.evals_per_step)
    ):
        raise PluginError(
            f"solver {solver.name!r} declares {solver.evals_per_step} evaluations a step, but makes {counts[0]}"
        )
    return tuple(slots)


def _tried(
    solver: SolverSpec,
    zero: Tensor,
    sigmas: Sequence[float],
    index: int,
    answers: Sequence[Tensor],
    history: tuple[Past, ...],
    options: Options,
) -> Question | Done:
    try:
        return attempt(solver, zero, sigmas, index, answers, history, options, lambda _: zero, zero)
    except MezzotintError:
        raise
    except Exception as error:
        given = f" with {', '.join(f'{k}={v!r}' for k, v in vars(options).items())}" if vars(options) else ""
        raise PluginError(
            f"solver {solver.name!r}{given} fails in step {index} from σ = {sigmas[index]:.4g} to "
            f"{sigmas[index + 1]:.4g}: {type(error).__name__}: {error}"
        ) from error


def remember(solver: SolverSpec, history: tuple[Past, ...], past: Past) -> tuple[Past, ...]:
    """History after one more step, no longer than the solver needs."""
    return (*history, past)[-solver.history :] if solver.history else ()


def check_sigmas(sigmas: Sequence[float]) -> None:
    """Raise a `RequestError` unless `sigmas` are two or more, finite, strictly decreasing and end at 0 or above."""
    if len(sigmas) < 2:
        raise RequestError(f"an interval needs at least one step and so two noise levels, not {len(sigmas)}")
    for index, (first, second) in enumerate(pairwise(sigmas)):
        # The comparison is false for NaN as well.
        if not first > second:
            raise RequestError(
                f"noise levels must fall strictly, but σ[{index}] = {first:g} is followed by {second:g}"
            )
    if sigmas[-1] < 0 or sigmas[0] == float("inf"):
        raise RequestError(
            f"noise levels must be finite and end at 0 or above: {sigmas[0]:g} … {sigmas[-1]:g}"
        )
