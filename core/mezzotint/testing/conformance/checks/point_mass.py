"""On a point mass every solver is exact: the denoised sample never changes."""

from __future__ import annotations

from ..finding import Finding, judge, not_applicable
from ..grids import ALTERNATING, EXPONENTIAL, SIGMA_MAX
from ..problems import POINT, fixed_noise, largest_error
from ..subject import Subject
from ..trace import trace

SHORT_RUNS = (1, 2, 3, 4, 7)
TOLERANCE = 1e-10


def point_mass(subject: Subject) -> Finding:
    """Every run that ends at σ = 0 ends at the point, also of 1, 2 and 3 steps; without noise, all the way."""
    solver = subject.solver
    if solver is None:
        return not_applicable("is no solver")
    start = POINT.point + SIGMA_MAX * fixed_noise((2, 1, 2, 2))
    worst, where = 0.0, ""
    for grid in (EXPONENTIAL, ALTERNATING):
        for n in SHORT_RUNS:
            levels = [*list(grid(n))[:n], 0.0]
            ran = trace(
                solver,
                POINT,
                start,
                levels,
                options=subject.options_for(n),
                noise=lambda step, stage: fixed_noise((2, 1, 2, 2), 100 * step + stage + 1),
            )
            for index, (x, level) in enumerate(zip(ran.x, levels, strict=True)):
                if level > 0 and solver.stochastic:
                    continue
                exact = POINT.solution(start, levels[0], level)
                error = largest_error(x, exact) / max(level, 1.0)
                if not error <= worst:
                    worst, where = error, f"{grid.description} to 0, n = {n}, after step {index}"
    return judge(
        worst <= TOLERANCE,
        f"off by at most {worst:.1e} (of σ, where it is above 1) with all data at {POINT.point}",
        grid=where or f"n in {SHORT_RUNS}",
        advice="The weights of x and of the denoised samples must sum so that a constant stays: look at both.",
    )
