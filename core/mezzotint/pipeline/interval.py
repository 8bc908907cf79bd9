"""Changing the interval of a diffusers scheduler after `set_timesteps`."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor

from ..errors import RequestError


def apply_interval(scheduler: Any, before: Tensor, wanted: Tensor) -> Tensor:
    """Make the scheduler visit `wanted` instead of `before` and return what the loop visits.

    A run of consecutive timesteps of `before` starts by index, never by looking a timestep up, so that
    duplicates do not matter. Anything else goes through `set_timesteps(timesteps=…)`.

    Raises:
        RequestError: the scheduler takes no timesteps of the caller's.
    """
    if wanted is before or (len(wanted) == len(before) and bool((wanted == before).all())):
        return before
    start = _offset(before, wanted)
    if start is not None:
        # Schedulers without a begin index (DDIM, DDPM, PNDM) go by the timestep they are given.
        if start and hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(start)
        return before[start : start + len(wanted)]
    if "timesteps" not in inspect.signature(scheduler.set_timesteps).parameters:
        raise RequestError(
            f"{type(scheduler).__name__} takes no timesteps of the caller's; only a part of its own interval is possible"
        )
    scheduler.set_timesteps(timesteps=wanted.tolist(), device=wanted.device)
    timesteps: Tensor = scheduler.timesteps
    return timesteps


def _offset(before: Tensor, wanted: Tensor) -> int | None:
    """Where `wanted` stands in `before` as a whole, the latest place first (a tail is the usual case)."""
    for start in range(len(before) - len(wanted), -1, -1):
        if bool((before[start : start + len(wanted)] == wanted).all()):
            return start
    return None
