"""DPM-Solver-2: the midpoint method with the midpoint in log σ."""

import math

from mezzotint.scheduling import Step, solver

from .ancestral import ancestral_step, renoised


@solver(
    "dpm2",
    accuracy_order=2,
    evals_per_step=2,
    start="spacing",
    paper="Karras et al. 2022, appendix D.2, α = 1/2 in log σ; k-diffusion sample_dpm_2",
)
def dpm2(s: Step):
    """Midpoint method: the slope halfway down in log σ, taken over the whole step."""
    return _midpoint(s, s.sigma_next)


@solver(
    "dpm2-ancestral",
    accuracy_order=2,
    evals_per_step=2,
    stochastic=True,
    start="spacing",
    paper="k-diffusion sample_dpm_2_ancestral",
    eta=1.0,
    s_noise=1.0,
)
def dpm2_ancestral(s: Step):
    """Midpoint method down past the target, then fresh noise up to it."""
    down, up = ancestral_step(s)
    x = _midpoint(s, down)
    return renoised(s, x, up)


def _midpoint(s: Step, target: float):
    if target == 0:
        return s.denoised
    middle = math.sqrt(s.sigma * target)
    x = s.euler(middle)
    return s.x.add(x - s.denoise(x, middle), alpha=(target - s.sigma) / middle)
