"""A stochastic solver whose noise is switched off solves the ODE."""

from __future__ import annotations

from dataclasses import replace

from ..finding import Finding, judge, not_applicable
from ..grids import ALTERNATING
from ..problems import GAUSSIAN, spread
from ..subject import Subject
from ..trace import trace
from .order import TOLERANCE, order_alternating


def eta_zero(subject: Subject) -> Finding:
    """With eta = 0 no noise is asked for, and the ODE's order is at least the declared weak order."""
    solver = subject.solver
    if solver is None:
        return not_applicable("is no solver")
    options = {**subject.options_for(8), "eta": 0.0}
    draws = trace(solver, GAUSSIAN, spread(), [*ALTERNATING(8), 0.0], options=options).draws
    quiet = replace(
        subject,
        solver=replace(solver, stochastic=False),
        options=lambda n: {**subject.options_for(n), "eta": 0.0},
    )
    found = order_alternating(quiet)
    order = found.numbers["order"]
    return judge(
        not draws and order >= solver.accuracy_order - TOLERANCE,
        f"with eta = 0 it asks for noise {len(draws)} times in 9 steps and has order {order:.2f}",
        grid=found.grid,
        advice="With eta = 0 leave the noise out altogether and let the drift be that of the ODE.",
        numbers={"order": order},
    )


def no_eta(subject: Subject) -> str:
    """Why there is no such option to ask about; empty if there is."""
    has_eta = subject.solver is not None and "eta" in subject.solver.options and subject.accuracy_order != 0
    return "" if has_eta else "has no option eta"
