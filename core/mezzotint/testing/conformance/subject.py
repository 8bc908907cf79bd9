"""What the kit is asked about: a solver, a spacing, or a scheduler that speaks diffusers' protocol."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...errors import RequestError
from ...scheduling.noise_schedule import NoiseSchedule
from ...scheduling.replay import ReplayScheduler
from ...scheduling.specs import SchedulerSpec, SolverSpec, SpacingSpec, spacing

Kind = Literal["solver", "spacing", "scheduler"]
StepOptions = Mapping[str, Any] | Callable[[int], Mapping[str, Any]]

NEUTRAL: Mapping[str, Any] = {"clip_sample": False, "thresholding": False}
"""Settings without which no scheduler follows the ODE."""


@dataclass(frozen=True, eq=False)
class Subject:
    """Something to check; made by `subject_of`."""

    name: str
    kind: Kind
    solver: SolverSpec | None = None
    spacing: SpacingSpec | None = None
    accuracy_order: int | None = None
    """Declared order; `None` if nothing is declared."""
    build: Callable[..., Any] | None = None
    """From config changes to a fresh scheduler."""
    settings: frozenset[str] | None = None
    """Names of the config changes that `build` takes; `None`: any."""
    options: StepOptions | None = None
    """The solver's options, or a function from the number of steps to them."""

    def takes(self, setting: str) -> bool:
        """Whether `make` may be given this setting."""
        return self.settings is None or setting in self.settings

    def make(self, **changes: Any) -> Any:
        """A fresh scheduler with these settings, those that it does not have left out."""
        if self.build is None:
            raise RequestError(f"{self.kind} {self.name!r} is no scheduler")
        wanted = {**NEUTRAL, **changes}
        return self.build(**{name: value for name, value in wanted.items() if self.takes(name)})

    def options_for(self, steps: int) -> Mapping[str, Any]:
        """The solver's options in a run of so many steps."""
        chosen = self.options(steps) if callable(self.options) else self.options
        return chosen or {}


@spacing("conformance")
def whole_timesteps(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """The training timesteps nearest to n equal steps in log σ, then the end: solvers as schedulers use it.

    Fractional timesteps would reach the model in float32 and cost digits that are not the solver's.
    """
    logs = np.log(schedule.sigmas)
    chosen: list[float] = []
    below = len(logs)
    for i in range(n):
        target = logs[-1] + (logs[0] - logs[-1]) * i / max(n - 1, 1)
        nearest = int(np.abs(logs - target).argmin())
        below = max(min(nearest, below - 1), n - 1 - i)
        chosen.append(float(schedule.sigmas[below]))
    return schedule.finish(chosen)


def subject_of(
    thing: Any, *, accuracy_order: int | None = None, options: StepOptions | None = None
) -> Subject:
    """Adapt a `SolverSpec`, a `SpacingSpec`, a `SchedulerSpec`, a scheduler, its class, or a factory.

    A factory is called with the settings among its keyword parameters that a check wants to change, as in a
    scheduler's config: `trained_betas`, `num_train_timesteps`, `prediction_type`, `timestep_spacing` …

    Raises:
        RequestError: it is none of these.
    """
    if isinstance(thing, Subject):
        return thing
    if isinstance(thing, SpacingSpec):
        return Subject(thing.name, "spacing", spacing=thing, options=options)
    if isinstance(thing, SolverSpec):
        return _of_solver(thing, accuracy_order, options)
    if isinstance(thing, SchedulerSpec):
        return _of_scheduler(thing.name, lambda **changes: thing.make(changes, {}), None, accuracy_order)
    speaks = hasattr(thing, "set_timesteps") and hasattr(thing, "step")
    if isinstance(thing, type) and speaks:
        return _of_scheduler(thing.__name__, thing, _keywords(thing), accuracy_order)
    if speaks:
        build = functools.partial(_again, thing)
        return _of_scheduler(type(thing).__name__, build, _keywords(type(thing)), accuracy_order)
    if callable(thing):
        function = thing.func if isinstance(thing, functools.partial) else thing
        name = str(getattr(function, "__name__", "scheduler"))
        return _of_scheduler(name, thing, _keywords(thing), accuracy_order)
    raise RequestError(
        f"{thing!r} is no solver, no spacing and no scheduler: give what @solver or @spacing returned, or a "
        "scheduler with set_timesteps and step, its class, or a function that makes one"
    )


def _of_solver(solver: SolverSpec, accuracy_order: int | None, options: StepOptions | None) -> Subject:
    def build(**settings: Any) -> ReplayScheduler:
        chosen = options(8) if callable(options) else options
        return ReplayScheduler(solver, whole_timesteps, solver_options=chosen, **settings)

    declared = solver.accuracy_order if accuracy_order is None else accuracy_order
    return Subject(solver.name, "solver", solver, None, declared, build, _keywords(ReplayScheduler), options)


def _of_scheduler(
    name: str, build: Callable[..., Any], settings: frozenset[str] | None, accuracy_order: int | None
) -> Subject:
    if accuracy_order is None:
        made = build(**{key: value for key, value in NEUTRAL.items() if settings is None or key in settings})
        inner = getattr(made, "solver", None)
        declared = inner.accuracy_order if isinstance(inner, SolverSpec) else None
        config = getattr(made, "config", {})
        accuracy_order = getattr(made, "accuracy_order", None) or declared or config.get("solver_order")
    return Subject(name, "scheduler", None, None, accuracy_order, build, settings)


def _again(scheduler: Any, **changes: Any) -> Any:
    """Another scheduler with the config of this one, changed."""
    config = {**scheduler.config, **changes}
    if isinstance(scheduler, ReplayScheduler):
        known = _keywords(ReplayScheduler) or ()
        config = {key: value for key, value in config.items() if key in known}
        return ReplayScheduler(**{**config, "solver": scheduler.solver, "spacing": scheduler.spacing})
    return type(scheduler).from_config(config)


def _keywords(function: Callable[..., Any]) -> frozenset[str] | None:
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return frozenset(parameter.name for parameter in parameters)
