"""The step to σ = 0, apart from the order: it is as long as σ_min, however many steps come before it."""

from __future__ import annotations

from ..finding import Finding, judge, not_applicable
from ..grids import EXPONENTIAL, SIGMA_MIN
from ..problems import MIXTURE, largest_error, spread
from ..subject import Subject
from ..trace import trace

BOUND = SIGMA_MIN
"""A plain denoising step errs by |x0| σ²/v, 0.01 here; no solver may be worse than what it jumps over."""


def last_jump(subject: Subject) -> Finding:
    """From the exact sample at σ_min, with the history of a run, to within σ_min of the exact end."""
    solver = subject.solver
    if solver is None:
        return not_applicable("is no solver")
    n = 32
    levels = [*EXPONENTIAL(n), 0.0]
    start = spread()
    # The whole way to σ_min exact, so that the jump is all that errs.
    jumped = trace(solver, MIXTURE, start, levels, options=subject.options_for(n), exact=n)
    error = largest_error(jumped.end, MIXTURE.solution(start, levels[0], 0.0))
    return judge(
        error <= BOUND,
        f"the jump from σ = {SIGMA_MIN} to 0 errs by {error:.1e}, allowed is {BOUND}",
        grid=f"exponential grid, n = {n}, then 0",
        advice="Where s.sigma_next is 0, fall back to a first-order step: return s.denoised.",
        numbers={"last jump": error},
    )
