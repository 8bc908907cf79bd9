"""DPM-Solver++: exponential integrators in λ = log(α/σ) for the denoised sample (Lu et al. 2022b)."""

import math

from mezzotint.scheduling import Step, solver

from .ancestral import ancestral_step, renoised


@solver(
    "dpmpp-2m",
    accuracy_order=2,
    history=1,
    paper="Lu et al. 2022 (DPM-Solver++), algorithm 2",
    lower_order_final=True,
)
def dpmpp_2m(s: Step):
    """DPM-Solver++ (2M): second order from one evaluation a step and the previous one."""
    denoised = s.denoised
    if s.history and not ends_plainly(s):
        last = s.history[-1]
        r = (s.half_log_snr - last.half_log_snr) / s.h
        denoised = denoised + (denoised - last.denoised) / (2 * r)
    return s.sigma_next / s.sigma * s.x - math.expm1(-s.h) * denoised


@solver(
    "dpmpp-2s-ancestral",
    accuracy_order=2,
    evals_per_step=2,
    stochastic=True,
    paper="Lu et al. 2022 (DPM-Solver++), algorithm 1; k-diffusion sample_dpmpp_2s_ancestral",
    eta=1.0,
    s_noise=1.0,
)
def dpmpp_2s_ancestral(s: Step):
    """DPM-Solver++ (2S) down past the target, then fresh noise up to it."""
    down, up = ancestral_step(s)
    if down == 0:
        return s.denoised
    middle = math.sqrt(s.sigma * down)
    at_middle = s.denoise(s.euler(middle), middle)
    x = at_middle + down / s.sigma * (s.x - at_middle)
    return renoised(s, x, up)


def ends_plainly(s: Step) -> bool:
    """The step to σ = 0 has no λ to extrapolate to; short runs are steadier if their last step is plain."""
    return s.sigma_next == 0 or (s.options.lower_order_final and s.is_last and s.steps < 15)
