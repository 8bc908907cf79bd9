"""Heun's method, and Restart, which takes it down the middle noise levels several times."""

import math
from dataclasses import replace
from itertools import pairwise

from mezzotint.scheduling import Step, solver

from ..option_range import RHO, within


@solver("heun", accuracy_order=2, evals_per_step=2, start="spacing", paper="Karras et al. 2022, algorithm 1")
def heun(s: Step):
    """Heun's method: the mean of two steps from x, with the slope there and with that where Euler's step ends."""
    x = s.euler(s.sigma_next)
    if s.sigma_next == 0:
        return x
    weight = (s.sigma_next - s.sigma) / s.sigma_next
    other = s.x.add(x - s.denoise(x, s.sigma_next), alpha=weight)
    return x.lerp(other, 0.5)


@solver(
    "restart",
    accuracy_order=2,
    evals_per_step=2,
    stochastic=True,
    start="spacing",
    paper="Xu et al. 2023 (Restart), algorithm 1",
    sigma_low=0.1,
    sigma_high=2.0,
    repeats=1,
    substeps=9,
    rho=7.0,
)
def restart(s: Step):
    """Heun's method; on passing sigma_low it goes back up to sigma_high with fresh noise, and down again."""
    x = heun.function(s)
    if not s.sigma_next <= s.options.sigma_low < s.sigma or s.sigma_next == 0:
        return x
    high = within(s, "sigma_high", s.options.sigma_low)
    levels = _karras(high, s.sigma_next, within(s, "substeps", 1), within(s, "rho", *RHO))
    for repeat in range(within(s, "repeats", 0)):
        x = x + math.sqrt(levels[0] ** 2 - s.sigma_next**2) * s.noise(repeat)
        for sigma, sigma_next in pairwise(levels):
            denoised = s.denoise(x, sigma)
            x = heun.function(replace(s, x=x, sigma=sigma, sigma_next=sigma_next, denoised=denoised))
    return x


def _karras(high: float, low: float, steps: int, rho: float) -> list[float]:
    top, bottom = high ** (1 / rho), low ** (1 / rho)
    # The last one is the level that the outer interval goes on from, exactly.
    return [(top + (bottom - top) * i / steps) ** rho for i in range(steps)] + [low]
