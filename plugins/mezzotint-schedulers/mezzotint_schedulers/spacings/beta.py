"""Spacings by the quantiles of a Beta distribution (Lee et al. 2024): dense at both ends.

Comfy takes quantiles of timesteps, diffusers and A1111 of σ; the two have nothing in common but the name.
"""

from collections.abc import Sequence

from mezzotint.errors import RequestError
from mezzotint.scheduling import NoiseSchedule, spacing

from ..option_range import checked
from .beta_quantile import beta_quantile

PAPER = "Lee et al. 2024 (Beta Sampling is All You Need), section 4"


@spacing("beta@comfy", paper=PAPER)
def beta_comfy(n: int, schedule: NoiseSchedule, *, alpha: float = 0.6, beta: float = 0.6) -> Sequence[float]:
    """Quantiles over timesteps, rounded, without the last; Comfy drops those that coincide, here they are an error."""
    _check_shape(alpha, beta)
    last = schedule.num_train_timesteps - 1
    times = [round(last * beta_quantile(1 - i / n, alpha, beta)) for i in range(n)]
    if len(set(times)) < n:
        raise RequestError(
            f"{n} steps are too many for spacing 'beta@comfy': some timesteps coincide; use 'beta'"
        )
    return schedule.finish(map(schedule.sigma_at, times))


@spacing("beta@diffusers", default=True, paper=PAPER)
def beta_diffusers(
    n: int, schedule: NoiseSchedule, *, alpha: float = 0.6, beta: float = 0.6
) -> Sequence[float]:
    """Quantiles over σ from σ_max to σ_min, then the end (diffusers, A1111)."""
    _check_shape(alpha, beta)
    low, span = schedule.sigma_min, schedule.sigma_max - schedule.sigma_min
    ramp = [1 - i / (n - 1) for i in range(n)] if n > 1 else [1.0]
    return schedule.finish(low + span * beta_quantile(u, alpha, beta) for u in ramp)


def _check_shape(alpha: float, beta: float) -> None:
    # Beyond, quantiles reach 0 and 1 in floats, or lie so close that levels coincide.
    checked("alpha", alpha, 0.01, 100)
    checked("beta", beta, 0.01, 100)
