"""Spacings over training timesteps, which diffusers calls `timestep_spacing` (Lin et al. 2023, table 2).

diffusers' classes disagree about `leading` and `linspace`; each meaning has its dialect here.
"""

from collections.abc import Iterable, Sequence
from functools import partial

from mezzotint.errors import RequestError
from mezzotint.scheduling import NoiseSchedule, spacing

PAPER = "Lin et al. 2023, table 2"


@spacing("leading@ddim", default=True, start="marginal", paper=PAPER)
def leading_ddim(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """Every (T // n)th timestep from 0, plus `steps_offset` (DDIM, DDPM, PNDM, Euler, Heun, LMS)."""
    stride = _stride(n, schedule.num_train_timesteps, n)
    return _at(schedule, (stride * i + schedule.steps_offset for i in reversed(range(n))))


@spacing("leading@dpm", start="marginal", paper=PAPER)
def leading_dpm(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """Every (T // (n + 1))th timestep but the first, plus `steps_offset` (DPM-Solver, UniPC, DEIS)."""
    stride = _stride(n, schedule.num_train_timesteps, n + 1)
    return _at(schedule, (stride * i + schedule.steps_offset for i in range(n, 0, -1)))


@spacing("linspace@ddim", default=True, paper=PAPER)
def linspace_ddim(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """n timesteps from the last to 0, rounded to whole ones (DDIM, DDPM, PNDM)."""
    _stride(n, schedule.num_train_timesteps, n)
    last = schedule.num_train_timesteps - 1
    if n == 1:
        return _at(schedule, [last])
    # Numbered from 0 and multiplied as numpy does, so that halves round as in diffusers.
    return _at(schedule, (round(last / (n - 1) * i) for i in reversed(range(n))))


@spacing("linspace@dpm", paper=PAPER)
def linspace_dpm(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """The first n of n + 1 timesteps from the last to 0, rounded (DPM-Solver, UniPC, DEIS)."""
    last = schedule.num_train_timesteps - 1
    _stride(n, schedule.num_train_timesteps, n + 1)
    return _at(schedule, (round(last / n * i) for i in range(n, 0, -1)))


@spacing("linspace@euler", paper=PAPER)
def linspace_euler(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """n fractional timesteps from the last to 0, σ interpolated linearly (Euler, Heun, LMS; flow models)."""
    last = schedule.num_train_timesteps - 1
    # `sigma_at` interpolates σ_model for flow models, which is what their classes do.
    sigma_at = schedule.sigma_at if schedule.kind == "flow" else partial(_linear, schedule)
    return schedule.finish(sigma_at(last - last * i / max(n - 1, 1)) for i in range(n))


@spacing("trailing", paper=PAPER)
def trailing(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """Every (T / n)th timestep down from the last, rounded; the one that always starts at pure noise."""
    total = schedule.num_train_timesteps
    _stride(n, total, n)
    # The stride as numpy's arange has it, so that halves round as in diffusers.
    stride = (total - total / n) - total
    return _at(schedule, (round(total + i * stride) - 1 for i in range(n)))


def _stride(n: int, total: int, parts: int) -> int:
    if total // parts < 1:
        raise RequestError(
            f"{n} steps are too many for {total} training timesteps; use fewer, or spacing 'karras'"
        )
    return total // parts


def _at(schedule: NoiseSchedule, timesteps: Iterable[float]) -> Sequence[float]:
    times = list(timesteps)
    if times[0] > schedule.num_train_timesteps - 1:
        raise RequestError(
            f"{len(times)} steps and steps_offset {schedule.steps_offset} start at timestep {times[0]}, but the "
            f"last is {schedule.num_train_timesteps - 1}; use fewer steps, or spacing 'trailing'"
        )
    return schedule.finish(map(schedule.sigma_at, times))


def _linear(schedule: NoiseSchedule, timestep: float) -> float:
    below = int(timestep)
    if below == timestep:
        return float(schedule.sigmas[below])
    low, high = float(schedule.sigmas[below]), float(schedule.sigmas[below + 1])
    return low + (timestep - below) * (high - low)
