"""Scheduler names: a solver or scheduler of a plugin, or `prefix:name` of a family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import unknown_name
from .specs import SchedulerFamily, SchedulerSpec, SolverSpec

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
) -> SolverSpec | SchedulerSpec | Member | type:
    """What goes by this name.

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
        return schedulers[name]
    except KeyError:
        known = [*schedulers, *(f"{each}:…" for each in families)]
        hint = "" if known else "pip install mezzotint-schedulers brings some."
        raise unknown_name("scheduler", name, known, hint) from None
