"""GITS: the spacing of few steps whose errors, added up, are least (Zhou et al. 2024).

The paper finds it by dynamic programming over a trajectory of the model at hand, and observes that all trajectories
of all models have nearly one shape. A spacing knows no model, so this dialect takes the shape from normally
distributed data, where it is known exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from mezzotint.errors import RequestError
from mezzotint.scheduling import NoiseSchedule, spacing

from ..option_range import checked

MOST_STEPS = 50


@spacing(
    "gits@gaussian", default=True, paper="Zhou et al. 2024 (GITS), algorithm 1, on normally distributed data"
)
def gits(
    n: int, schedule: NoiseSchedule, *, coefficient: float = 1.15, variance: float = 1.0
) -> Sequence[float]:
    """n levels whose Euler errors add up to least, each weighed by `coefficient` for every step before it."""
    if n > MOST_STEPS:
        raise RequestError(
            f"spacing 'gits' is for few steps, at most {MOST_STEPS}, not {n}; use spacing 'karras'"
        )
    checked("coefficient", coefficient, 0.01, 100)
    checked("variance", variance, 1e-6, 1e6)
    return schedule.finish(_shortest(n, schedule.sigma_max, schedule.sigma_min, coefficient, variance))


@lru_cache(maxsize=64)
def _shortest(
    n: int, sigma_max: float, sigma_min: float, coefficient: float, variance: float
) -> tuple[float, ...]:
    import numpy as np

    # The candidates: Karras et al.'s levels, 61 as in the paper or enough to choose from.
    count = max(61, 6 * n + 1)
    roots = np.linspace(sigma_max ** (1 / 7), sigma_min ** (1 / 7), count)
    sigma = roots**7
    x = np.sqrt(variance + sigma**2)
    jumped = x[:, None] + (sigma[None, :] - sigma[:, None]) * (sigma / x)[:, None]
    error = np.abs(jumped - x[None, :])
    error[np.tril_indices(count)] = np.inf
    # least[i] is the least error from level i to the end in k steps, following[k][i] the level after it.
    least, following = error[:, -1], []
    for _ in range(n - 1):
        total = error + coefficient * least[None, :]
        following.append(total.argmin(axis=1))
        least = total.min(axis=1)
    path = [0]
    for after in reversed(following):
        path.append(int(after[path[-1]]))
    return tuple(float(sigma[i]) for i in path)
