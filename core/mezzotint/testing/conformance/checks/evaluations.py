"""Model evaluations are counted, not believed."""

from __future__ import annotations

from collections import Counter

import torch

from ..draws import Draws, zeros
from ..drive import run, smooth_model
from ..finding import Finding, judge, not_applicable
from ..grids import EXPONENTIAL
from ..problems import MIXTURE, spread
from ..subject import Subject
from ..trace import trace

STEPS = 12


def evaluations(subject: Subject) -> Finding:
    """A usual step makes the evaluations that are declared, the step to 0 no more."""
    solver = subject.solver
    if solver is None:
        return _of_scheduler(subject)
    levels = [*EXPONENTIAL(STEPS), 0.0]
    *counts, last = trace(solver, MIXTURE, spread(), levels, options=subject.options_for(STEPS)).evaluations
    usual, _ = Counter(counts).most_common(1)[0]
    return judge(
        usual == solver.evals_per_step and last <= usual,
        f"{usual} evaluations in a usual step and {last} in the last, {solver.evals_per_step} declared; "
        f"{sum(counts)} in {len(counts)} steps",
        grid=f"exponential grid, n = {STEPS}, then 0",
        advice=f"Declare evals_per_step={usual}, and make none at σ = 0.",
        numbers={"evaluations": sum(counts) / len(counts)},
    )


def _of_scheduler(subject: Subject) -> Finding:
    scheduler = subject.make()
    order = getattr(scheduler, "order", None)
    if not isinstance(order, int):
        return not_applicable("has no order, which says how many turns a step takes")
    with Draws(zeros):
        count = len(run(subject, smooth_model, torch.ones(1, 1, 2, 2), STEPS, scheduler=scheduler))
    return judge(
        STEPS * order - order + 1 <= count <= STEPS * order,
        f"{count} model evaluations in {STEPS} steps of order {order}",
        grid=f"its own spacing, n = {STEPS}",
        advice="Pipelines slice timesteps[k * order:]; give `order` timesteps a step, the last may have fewer.",
        numbers={"evaluations": count / STEPS},
    )
