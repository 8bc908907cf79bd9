"""Order of convergence of the probability-flow ODE, on a mixture whose exact solution is known.

For each number of steps the largest error at σ_min over nine samples; the order is the slope between the
two finest. A solver's declared order must be its order on every grid, so that it may do better on one grid
but not on all.
"""

from __future__ import annotations

import math
from functools import lru_cache

from ..convergence import Convergence, converge_scheduler, converge_solver
from ..drive import first_sample, frame_of, perfect_model, turns
from ..finding import Finding, judge, not_applicable
from ..grids import ALTERNATING, EXPONENTIAL, GRIDS, SIGMA_MAX, SIGMA_MIN, Grid
from ..problems import MIXTURE, largest_error, spread
from ..subject import Subject
from ..trace import trace
from ..training_grid import on_grid, why_not_measured

TOLERANCE = 0.15
"""Of an observed order. At 256 steps Euler to LMS-4 are measured within 0.11 of their orders; the nearest
wrong formula, a multistep solver without its step ratio, is off by 1."""
SINGLE_PRECISION_TOLERANCE = 0.3
"""For schedulers, whose levels and sums are float32: fewer steps can be used, farther from the limit."""


def order_exponential(subject: Subject) -> Finding:
    """Order on equal steps in log σ."""
    return _order_on(subject, EXPONENTIAL)


def order_alternating(subject: Subject) -> Finding:
    """Order on steps in log σ that alternate 1 : 3."""
    return _order_on(subject, ALTERNATING)


def order_declared(subject: Subject) -> Finding:
    """The declared order is the one that holds on every grid, not less."""
    lowest = min(_measure(subject, grid).order for grid in GRIDS)
    declared = subject.accuracy_order or 0
    return judge(
        not lowest > declared + _tolerance(subject),
        f"order {lowest:.2f} on the grid where it is lowest, {declared} declared",
        grid="both grids",
        advice=(
            f"It is better than it says on both grids: declare accuracy_order={round(lowest)}."
            if lowest < 99
            else "It solves the mixture exactly, which no solver does: is the grid ignored?"
        ),
    )


def _order_on(subject: Subject, grid: Grid) -> Finding:
    if subject.kind == "scheduler" and (why := why_not_measured(subject)):
        return not_applicable(why)
    found = _measure(subject, grid)
    wanted = 1 if subject.accuracy_order is None else subject.accuracy_order
    said = "declared" if subject.accuracy_order is not None else "needed to converge at all"
    return judge(
        found.order >= wanted - _tolerance(subject),
        f"order {found.order:.2f} where {wanted} is {said}; error {found.errors[-1]:.1e} at n = {found.numbers[-1]}",
        grid=grid.between(*found.pair),
        advice=(
            "Smooth grids are well, uneven ones are not: look for a step ratio that is left out."
            if grid is ALTERNATING and _measure(subject, EXPONENTIAL).order >= wanted - _tolerance(subject)
            else "Compare the formula with its paper term by term, or declare a lower accuracy_order."
        ),
        numbers={"order": found.order, "error": found.errors[-1], "steps": found.numbers[-1]},
    )


def not_of_the_ode(subject: Subject) -> str:
    """Why an order of the ODE is no question; empty if it is."""
    if subject.accuracy_order == 0:
        return "declares order 0, being for distilled models"
    if subject.solver is not None and subject.solver.stochastic:
        return "has noise; its weak order is measured instead"
    return ""


def _tolerance(subject: Subject) -> float:
    return TOLERANCE if subject.kind == "solver" else SINGLE_PRECISION_TOLERANCE


@lru_cache(maxsize=32)
def _measure(subject: Subject, grid: Grid) -> Convergence:
    if subject.kind == "scheduler":
        return converge_scheduler(lambda n: scheduler_error(subject, grid, n))
    declared = subject.accuracy_order or 0
    return converge_solver(
        lambda n: solver_error(subject, grid, n),
        floor=1e-11,
        settled=lambda order: abs(order - declared) <= TOLERANCE,
    )


def solver_error(subject: Subject, grid: Grid, n: int) -> float:
    """Largest error at σ_min after n steps, with one more to σ = 0 to come."""
    if subject.solver is None:
        return math.nan
    start = spread()
    levels = [*grid(n), 0.0]
    options = subject.options_for(n)
    history = subject.solver.history
    end = trace(subject.solver, MIXTURE, start, levels, options=options, exact=history, stop=n).end
    return largest_error(end, MIXTURE.solution(start, SIGMA_MAX, SIGMA_MIN))


def scheduler_error(subject: Subject, grid: Grid, n: int) -> float:
    """The same for a scheduler, between what the model sees first and what it sees last."""
    scheduler = on_grid(subject, grid, n)
    frame = frame_of(scheduler)
    if frame is None:
        return math.nan
    start = first_sample(scheduler, spread() / SIGMA_MAX)
    ran = list(turns(scheduler, perfect_model(MIXTURE, scheduler, frame), start))
    first, last = ran[0], ran[-1]
    begun = first.seen.double() / frame(first.timestep)[0]
    ended = last.seen.double() / frame(last.timestep)[0]
    return largest_error(
        ended, MIXTURE.solution(begun, frame.ratio(first.timestep), frame.ratio(last.timestep))
    )
