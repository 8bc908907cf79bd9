"""Solvers, spacings and the diffusers bridge."""

from collections.abc import Sequence

from mezzotint import CommandSpec, hookimpl
from mezzotint.scheduling import SchedulerProvided, SpacingSpec

from .bridge import DIFFUSERS
from .solvers import SOLVERS
from .spacings import SPACINGS

__all__ = ["DIFFUSERS", "SOLVERS", "SPACINGS"]


@hookimpl
def schedulers() -> Sequence[SchedulerProvided]:
    """Every solver here, and diffusers' classes as `diffusers:ClassName`."""
    return [*SOLVERS, DIFFUSERS]


@hookimpl
def spacings() -> Sequence[SpacingSpec]:
    """Every spacing here, with its dialects."""
    return list(SPACINGS)


@hookimpl
def commands() -> Sequence[CommandSpec]:
    """`mezzotint schedulers compare`."""
    return [
        CommandSpec(
            "schedulers compare",
            "mezzotint_schedulers.comparison.command:command",
            "Compare schedulers on a prompt: pictures, cost, distance from the limit.",
        )
    ]
