"""How long a step may be before the error of a run is as large as the sample.

On Gaussian data the ODE multiplies a sample by a known factor; a solver is bounded at n steps if its own
factor, or with noise its standard deviation, is wrong by less than the whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from ..finding import Finding, judge, not_applicable
from ..grids import EXPONENTIAL, SIGMA_MAX, SIGMA_MIN
from ..problems import GAUSSIAN, largest_error
from ..subject import Subject
from ..trace import trace
from .weak_order import solver_error

STEPS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 50, 64)
NEEDED = 20
"""Steps that a run in practice has; from there on it must be bounded."""
ACCURATE = 0.1


def stability(subject: Subject) -> Finding:
    """From 20 steps on the error is smaller than the sample; and from where on it is, and is within 10 %."""
    if subject.solver is None:
        return not_applicable("is no solver")
    errors = {n: _relative_error(subject, n) for n in STEPS}
    bounded, accurate = (_from_where_on(errors, limit) for limit in (1.0, ACCURATE))
    longest = math.log(SIGMA_MAX / SIGMA_MIN) / bounded
    return judge(
        bounded <= NEEDED,
        f"bounded from {bounded} steps on, that is for steps of log σ up to {longest:.2f}; within "
        f"{ACCURATE:.0%} from {accurate} on"
        if bounded < math.inf
        else f"with {STEPS[-1]} steps the error is {errors[STEPS[-1]]:.1g} times the sample",
        grid=f"exponential grid, n in {STEPS}, Gaussian data",
        advice="Errors grow from step to step: look at the weights of earlier denoised samples.",
        numbers={"bounded from": bounded, "longest step": longest, "accurate from": accurate},
    )


def _from_where_on(errors: Mapping[int, float], limit: float) -> float:
    """The least number of steps that is below the limit with all larger ones; infinite if there is none."""
    good = [n for n in errors if all(error < limit for m, error in errors.items() if m >= n)]
    return good[0] if good else math.inf


def _relative_error(subject: Subject, n: int) -> float:
    solver = subject.solver
    if solver is None:
        return math.inf
    if solver.stochastic:
        variance = GAUSSIAN.variance + SIGMA_MIN**2
        error = solver_error(subject, EXPONENTIAL, n) / variance
        # From the variance's relative error to the deviation's.
        return math.sqrt(1 + error) - 1 if math.isfinite(error) else math.inf
    x = torch.full((1, 1, 1, 1), SIGMA_MAX, dtype=torch.float64)
    end = trace(solver, GAUSSIAN, x, [*EXPONENTIAL(n), 0.0], options=subject.options_for(n), stop=n).end
    exact = GAUSSIAN.solution(x, SIGMA_MAX, SIGMA_MIN)
    return largest_error(end / exact, torch.ones_like(end))


def for_distilled_models(subject: Subject) -> str:
    """Why no error is to be measured; empty if it is."""
    return "declares order 0, being for distilled models" if subject.accuracy_order == 0 else ""
