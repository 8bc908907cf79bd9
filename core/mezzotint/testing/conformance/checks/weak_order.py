"""Weak order of stochastic solvers, without Monte Carlo.

On Gaussian data a sampler is linear in its first sample and in each noise that it adds. Run a batch of unit
impulses, one a draw: their responses, squared and added up, are the exact variance of what it samples
(Pierret & Galerne 2025). Its error falls with the weak order, or faster, as variance is one moment only.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch

from ..convergence import Convergence, converge_scheduler, converge_solver
from ..draws import Draws, impulses, zeros
from ..drive import first_sample, frame_of, perfect_model, turns
from ..finding import Finding, judge, not_applicable
from ..grids import ALTERNATING, EXPONENTIAL, SIGMA_MAX, SIGMA_MIN, Grid
from ..problems import GAUSSIAN
from ..subject import Subject
from ..trace import trace
from ..training_grid import on_grid, why_not_measured

TOLERANCE = 0.2


def weak_order_exponential(subject: Subject) -> Finding:
    """Weak order on equal steps in log σ."""
    return _weak_order_on(subject, EXPONENTIAL)


def weak_order_alternating(subject: Subject) -> Finding:
    """Weak order on steps in log σ that alternate 1 : 3."""
    return _weak_order_on(subject, ALTERNATING)


def not_of_an_sde(subject: Subject) -> str:
    """Why a weak order is no question; empty if it is."""
    if subject.accuracy_order == 0:
        return "declares order 0, being for distilled models"
    if subject.solver is not None and not subject.solver.stochastic:
        return "declares no noise"
    return ""


def _weak_order_on(subject: Subject, grid: Grid) -> Finding:
    if subject.kind == "scheduler" and (why := why_not_measured(subject, with_noise=True)):
        return not_applicable(why)
    found = _measure(subject, grid)
    # A scheduler's solver_order is of its ODE; with noise it is only bound to converge.
    wanted = subject.accuracy_order or 1 if subject.kind == "solver" else 1
    return judge(
        found.order >= wanted - TOLERANCE,
        f"weak order {found.order:.2f} where {wanted} is declared; variance off by {found.errors[-1]:.1e} at "
        f"n = {found.numbers[-1]}",
        grid=grid.between(*found.pair),
        advice="The variance of its noise does not match what its drift removes: compare both with the paper.",
        numbers={"weak order": found.order, "error": found.errors[-1], "steps": found.numbers[-1]},
    )


@lru_cache(maxsize=32)
def _measure(subject: Subject, grid: Grid) -> Convergence:
    if subject.kind == "scheduler":
        return converge_scheduler(lambda n: _scheduler_error(subject, grid, n))
    declared = subject.accuracy_order or 0
    return converge_solver(
        lambda n: solver_error(subject, grid, n),
        floor=1e-12,
        # Better than declared is settled: variance is one moment only.
        settled=lambda order: order >= declared - TOLERANCE,
    )


def solver_error(subject: Subject, grid: Grid, n: int) -> float:
    """Error of the sampled variance at σ_min after n steps, with one more to σ = 0 to come."""
    if subject.solver is None:
        return math.nan
    levels, options = [*grid(n), 0.0], subject.options_for(n)
    one = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    rehearsal = trace(subject.solver, GAUSSIAN, one, levels, options=options, stop=n)
    row = {draw: number + 1 for number, draw in enumerate(rehearsal.draws)}
    responses = torch.zeros(1 + len(row), 1, 1, 1, dtype=torch.float64)
    responses[0] = 1

    def noise(step: int, stage: int) -> torch.Tensor:
        impulse = torch.zeros_like(responses)
        impulse[row[step, stage]] = 1
        return impulse

    end = trace(subject.solver, GAUSSIAN, responses, levels, options=options, noise=noise, stop=n).end
    return _variance_error(end, SIGMA_MAX, SIGMA_MIN)


def _scheduler_error(subject: Subject, grid: Grid, n: int) -> float:
    rehearsal = on_grid(subject, grid, n)
    frame = frame_of(rehearsal)
    if frame is None:
        return math.nan
    model = perfect_model(GAUSSIAN, rehearsal, frame)
    with Draws(zeros) as draws:
        for _ in turns(rehearsal, model, torch.zeros(1, 1, 1, 1, dtype=torch.float64)):
            pass
    scheduler = on_grid(subject, grid, n)
    start = torch.zeros(1 + draws.count, 1, 1, 1, dtype=torch.float64)
    start[0] = 1
    start = first_sample(scheduler, start)
    with Draws(impulses):
        ran = list(turns(scheduler, model, start))
    first, last = ran[0], ran[-1]
    alpha, _ = frame(first.timestep)
    # Normalise what the first model input was to one unit of noise, whatever init_noise_sigma is.
    begun = float(first.seen[0].double()) / alpha
    ended = last.seen.double() / frame(last.timestep)[0]
    ended[0] /= begun
    return _variance_error(ended, frame.ratio(first.timestep), frame.ratio(last.timestep))


def _variance_error(responses: torch.Tensor, sigma: float, sigma_min: float) -> float:
    """|Σ squared responses - (v + σ_min²)|, the first response being to a sample of variance v + σ²."""
    first, *_ = flat = responses.flatten()
    variance = first**2 * (GAUSSIAN.variance + sigma**2) + (flat[1:] ** 2).sum()
    return abs(float(variance) - (GAUSSIAN.variance + sigma_min**2))
