"""A solver's own loop, step by step, with everything that the checks want to see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...scheduling.attempt import Done, attempt
from ...scheduling.plan import remember
from ...scheduling.specs import SolverSpec
from ...scheduling.step import Options, Past
from .problems import Problem

if TYPE_CHECKING:
    from torch import Tensor

Noise = Callable[[int, int], "Tensor"]
"""From (step, stage) to noise of the shape of the sample."""


@dataclass(frozen=True, eq=False)
class Trace:
    """A run of a solver."""

    x: tuple[Tensor, ...]
    """Sample at each level that the run came to, the first included."""
    evaluations: tuple[int, ...]
    """Model evaluations of each step."""
    draws: tuple[tuple[int, int], ...] = field(default=())
    """(step, stage) of each noise that was asked for, repeats left out."""

    @property
    def end(self) -> Tensor:
        """Sample at the last level that the run came to."""
        return self.x[-1]


def trace(
    solver: SolverSpec,
    problem: Problem,
    x: Tensor,
    levels: Sequence[float],
    *,
    options: Mapping[str, Any] | None = None,
    noise: Noise | None = None,
    exact: int = 0,
    stop: int | None = None,
) -> Trace:
    """Carry `x` from the first level to the last.

    Args:
        noise: default: zeros.
        exact: replace the sample by the exact solution in so many first steps. Until a solver has all the
            history that it declares, since the order of a multistep method is that of its steps, not of how
            it starts.
        stop: after this many steps; the solver still sees the whole interval, and so that it is not
            in its last step.
    """
    merged = Options(**{**solver.options, **(options or {})})
    history: tuple[Past, ...] = ()
    passed, evaluations = [x], []
    draws: dict[tuple[int, int], None] = {}
    for index in range(len(levels) - 1 if stop is None else stop):

        def noise_of_step(stage: int, index: int = index, like: Tensor = x) -> Tensor:
            draws[(index, stage)] = None
            return like * 0 if noise is None else noise(index, stage)

        answers = [problem.denoised(x, levels[index])]
        while not isinstance(
            outcome := attempt(solver, x, levels, index, answers, history, merged, noise_of_step, answers[0]),
            Done,
        ):
            answers.append(problem.denoised(outcome.x, outcome.sigma))
        history = remember(solver, history, Past(x, levels[index], answers[0], outcome.carry))
        x = problem.solution(x, levels[index], levels[index + 1]) if index < exact else outcome.x
        passed.append(x)
        evaluations.append(len(answers))
    return Trace(tuple(passed), tuple(evaluations), tuple(draws))
