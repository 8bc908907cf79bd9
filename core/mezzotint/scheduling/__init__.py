"""Schedulers: solver (in what way the noise falls) × spacing (at what interval) × the model's prediction type.

A `solver` is a pure function of a `Step`, a `spacing` a pure function of the number of steps and the
model's `NoiseSchedule`. `make_scheduler` joins one of each to a complete diffusers scheduler.
Importing this package imports neither torch nor diffusers, so that plugins stay quick to list.
"""

from .familiar_names import familiar_names
from .integrate import integrate
from .make import make_scheduler
from .noise_schedule import NoiseSchedule
from .scheduler_names import find_scheduler
from .spacing_names import find_spacing
from .specs import (
    SchedulerFamily,
    SchedulerProvided,
    SchedulerSpec,
    SolverSpec,
    SpacingSpec,
    solver,
    spacing,
)
from .step import Past, Step

__all__ = [
    "NoiseSchedule",
    "Past",
    "SchedulerFamily",
    "SchedulerProvided",
    "SchedulerSpec",
    "SolverSpec",
    "SpacingSpec",
    "Step",
    "familiar_names",
    "find_scheduler",
    "find_spacing",
    "integrate",
    "make_scheduler",
    "solver",
    "spacing",
]
