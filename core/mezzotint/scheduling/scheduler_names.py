"""Scheduler names: a solver or scheduler of a plugin, or `prefix:name` of a family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import UnknownNameError, unknown_name
from .familiar_names import known_scheduler, near_names
from .specs import SchedulerFamily, SchedulerSpec, SolverSpec, SpacingSpec

if TYPE_CHECKING:
    from diffusers import SchedulerMixin


@dataclass(frozen=True)
class Member:
    """A scheduler of a family."""

    family: SchedulerFamily
    name: str
    """Without the prefix."""

    def make(self, config: Mapping[str, Any], options: Mapping[str, Any]) -> SchedulerMixin:
        """From the model's scheduler config, with changes."""
        return self.family.make(self.name, {**config, **options})


def find_scheduler(
    name: str,
    schedulers: Mapping[str, SolverSpec | SchedulerSpec | type],
    families: Mapping[str, SchedulerFamily],
    spacings: Mapping[str, SpacingSpec] = MappingProxyType({}),
) -> SolverSpec | SchedulerSpec | Member | type:
    """What goes by this name, here or in a web UI.

    Args:
        spacings: for the hint where the name is that of a spacing.

    Raises:
        UnknownNameError: nothing does; near misses are named.
    """
    prefix, colon, member = name.partition(":")
    if colon and prefix in families:
        names = families[prefix].names()
        if member not in names:
            raise unknown_name(f"scheduler of {prefix!r}", member, names)
        return Member(families[prefix], member)
    try:
        return schedulers[known_scheduler(name, schedulers) or name]
    except KeyError:
        meant = near_names(name, schedulers, spacings, [f"{each}:…" for each in families])
        hint = "" if schedulers or families else " pip install mezzotint-schedulers brings some."
        raise UnknownNameError(f"no scheduler named {name!r}; {meant}{hint}") from None
