"""Timesteps and noise levels that a caller gives to `set_timesteps`, checked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from ..errors import RequestError
from .noise_schedule import NoiseSchedule

if TYPE_CHECKING:
    from torch import Tensor


def levels_from_timesteps(timesteps: Sequence[float] | Tensor, schedule: NoiseSchedule) -> list[float]:
    """Noise levels of strictly falling training timesteps, and the last one.

    Raises:
        RequestError: no numbers, empty, out of the trained range, or not strictly falling.
    """
    times = _numbers("timesteps", timesteps)
    last = schedule.num_train_timesteps - (1 if schedule.kind == "vp" else 0)
    if not times:
        raise RequestError("timesteps is empty")
    for time in times:
        if not 0 <= time <= last:
            raise RequestError(f"timestep {time:g} is not in 0 … {last}")
    for first, second in pairwise(times):
        if first <= second:
            raise RequestError(f"timesteps must fall strictly, but {first:g} is followed by {second:g}")
    return schedule.finish(map(schedule.sigma_of_timestep, times))


def levels_from_sigmas(sigmas: Sequence[float] | Tensor, schedule: NoiseSchedule) -> list[float]:
    """Noise levels σ/α of those that diffusers pipelines pass: σ/α, or σ for flow models.

    Flow pipelines leave out the last 0, so it is appended. `plan.check_sigmas` checks the rest.

    Raises:
        RequestError: no numbers, or out of the range of a flow model.
    """
    levels = _numbers("sigmas", sigmas)
    if schedule.kind == "vp":
        return levels
    if any(not 0 <= level <= 1 for level in levels):
        raise RequestError(f"noise levels of a flow model lie in 0 … 1: {levels}")
    if levels and levels[-1] > 0:
        levels.append(0.0)
    highest = float(schedule.sigmas[-1])
    return [min(level / (1 - level), highest) if level < 1 else highest for level in levels]


def _numbers(argument: str, values: Sequence[float] | Tensor) -> list[float]:
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError) as error:
        raise RequestError(f"{argument}= takes a list of numbers, not {values!r}") from error
