"""Spacings over the range from σ_max to σ_min, whatever the training timesteps are."""

import math
from collections.abc import Sequence

from mezzotint.scheduling import NoiseSchedule, spacing

from ..option_range import RHO, checked


@spacing("karras", paper="Karras et al. 2022, eq. 5")
def karras(n: int, schedule: NoiseSchedule, *, rho: float = 7.0) -> Sequence[float]:
    """Equal steps in σ^(1/ρ) from σ_max to σ_min, then the end."""
    checked("rho", rho, *RHO)
    high, low = schedule.sigma_max ** (1 / rho), schedule.sigma_min ** (1 / rho)
    return schedule.finish((high + (low - high) * u) ** rho for u in _ramp(n))


@spacing("exponential", paper="k-diffusion get_sigmas_exponential; uniform λ of Lu et al. 2022 (DPM-Solver)")
def exponential(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """Equal steps in log σ from σ_max to σ_min, then the end."""
    return polyexponential.function(n, schedule, rho=1.0)


@spacing("polyexponential", paper="k-diffusion get_sigmas_polyexponential")
def polyexponential(n: int, schedule: NoiseSchedule, *, rho: float = 1.0) -> Sequence[float]:
    """Steps in log σ that follow (1 - u)^ρ, then the end; ρ > 1 spends more steps at low noise."""
    checked("rho", rho, *RHO)
    high, low = math.log(schedule.sigma_max), math.log(schedule.sigma_min)
    return schedule.finish(math.exp(low + (high - low) * (1 - u) ** rho) for u in _ramp(n))


@spacing("kl-optimal@comfy", default=True, paper="Sabour et al. 2024 (Align Your Steps), eq. 7")
def kl_optimal_comfy(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """n equal steps in arctan σ from σ_max to σ_min, then the end."""
    high, low = math.atan(schedule.sigma_max), math.atan(schedule.sigma_min)
    return schedule.finish(math.tan(high + (low - high) * u) for u in _ramp(n))


@spacing("kl-optimal@a1111", paper="Sabour et al. 2024 (Align Your Steps), eq. 7")
def kl_optimal_a1111(n: int, schedule: NoiseSchedule) -> Sequence[float]:
    """n + 1 equal steps in arctan σ that end at σ_min and never at 0."""
    high, low = math.atan(schedule.sigma_max), math.atan(schedule.sigma_min)
    return [math.tan(high + (low - high) * i / n) for i in range(n + 1)]


def _ramp(n: int) -> Sequence[float]:
    """0 to 1 in n values; a single one starts at the top."""
    return [i / (n - 1) for i in range(n)] if n > 1 else [0.0]
