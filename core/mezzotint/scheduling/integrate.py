"""The closed loop: a solver, a model and an interval, without a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .attempt import Done, attempt
from .plan import check_sigmas, remember
from .step import Options, Past

if TYPE_CHECKING:
    from torch import Tensor

    from .specs import SolverSpec


def integrate(
    solver: SolverSpec,
    denoise: Callable[[Tensor, float], Tensor],
    x: Tensor,
    sigmas: Sequence[float],
    *,
    noise: Callable[[int, int], Tensor] | None = None,
    options: Mapping[str, Any] | None = None,
    history: tuple[Past, ...] = (),
    unconditional: Callable[[Tensor, float], Tensor] | None = None,
) -> Tensor:
    """Carry `x` from `sigmas[0]` to `sigmas[-1]`: what the replay does one evaluation at a time.

    For experiments and tests: the model is any function, the frame is the variance-exploding one.

    Args:
        denoise: from (x, σ) to the clean sample, shapes equal.
        x: sample at `sigmas[0]`, (n, ...).
        noise: from (step, stage) to standard normal noise of the shape of `x`; needed by stochastic solvers.
        options: changes to the solver's options.
        history: earlier steps, the latest last; without them multistep solvers start with a lower order.
        unconditional: as `denoise`, without guidance; default: `denoise`, as without guidance at all.

    Raises:
        RequestError: `sigmas` are no interval.
    """
    check_sigmas(sigmas)
    merged = Options(**{**solver.options, **(options or {})})
    history = history[len(history) - min(solver.history, len(history)) :]
    for index in range(len(sigmas) - 1):
        answers = [denoise(x, sigmas[index])]
        plain = answers[0] if unconditional is None else unconditional(x, sigmas[index])

        def noise_of_step(stage: int, index: int = index) -> Tensor:
            if noise is None:
                raise ValueError(f"solver {solver.name!r} needs noise: pass noise=")
            return noise(index, stage)

        while not isinstance(
            outcome := attempt(solver, x, sigmas, index, answers, history, merged, noise_of_step, plain), Done
        ):
            answers.append(denoise(outcome.x, outcome.sigma))
        history = remember(solver, history, Past(x, sigmas[index], answers[0], outcome.carry))
        x = outcome.x
    return x
