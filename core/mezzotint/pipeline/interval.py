"""The interval of a run: asked of the scheduler, and changed after that."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import RequestError


def set_timesteps(scheduler: Any, steps: int, device: torch.device, seeds: Sequence[int]) -> None:
    """Lay out a run of so many steps.

    Args:
        seeds: one an image, for schedulers that draw noise apart from the run's generators.

    Raises:
        RequestError: the scheduler refuses the number.
    """
    if getattr(scheduler, "noise_sampler_seed", 0) is None:
        # diffusers' DPMSolverSDEScheduler would draw from torch's global generator.
        scheduler.noise_sampler_seed = list(seeds)
    try:
        scheduler.set_timesteps(steps, device=device)
    except (ValueError, IndexError, ZeroDivisionError) as error:
        trained = scheduler.config.get("num_train_timesteps")
        if trained is not None and steps > trained:
            raise RequestError(
                f"{steps} steps are more than the {trained} timesteps that the model was trained on; use fewer"
            ) from error
        raise RequestError(f"{type(scheduler).__name__} refuses {steps} steps: {error}") from error


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
