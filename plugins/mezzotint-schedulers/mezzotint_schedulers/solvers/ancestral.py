"""How ancestral solvers split a step: down past the target without noise, then up with fresh noise."""

import math

from mezzotint.scheduling import Step

from ..option_range import within


def ancestral_split(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """(σ_down, σ_up) with σ_down² + σ_up² = σ_next².

    With eta = 1 the noise has the variance of the posterior q(x_next | x, x0) of DDPM (Ho et al. 2020,
    eq. 7), with 0 there is none (Song et al. 2020, eq. 16, in this frame).
    """
    up = min(sigma_next, eta * sigma_next * math.sqrt(sigma**2 - sigma_next**2) / sigma)
    return math.sqrt(sigma_next**2 - up**2), up


def ancestral_step(s: Step) -> tuple[float, float]:
    """(σ_down, σ_up) of a step, by the solver's option `eta`."""
    return ancestral_split(s.sigma, s.sigma_next, within(s, "eta", 0))


def renoised(s: Step, x, up: float):
    """x with fresh noise of σ_up, by the solver's option `s_noise`."""
    return x + s.options.s_noise * up * s.noise() if up > 0 else x
