"""Solvers of the diffusion SDE as exponential integrators in λ = log(α/σ).

With `eta`, the deterministic drift towards the denoised sample grows by (1 + eta), and noise of variance
σ_next² (1 - exp(-2 eta h)) makes up for it (Lu et al. 2022, section 5; Gonzalez et al. 2023, section 3).
"""

import math

from mezzotint.scheduling import Step, solver

from ..option_range import one_of, within
from .ancestral import ancestral_split


@solver(
    "dpmpp-sde",
    accuracy_order=1,
    evals_per_step=2,
    stochastic=True,
    start="spacing",
    paper="Lu et al. 2022 (DPM-Solver++), algorithm 1 on the SDE; k-diffusion sample_dpmpp_sde",
    eta=1.0,
    s_noise=1.0,
    r=0.5,
)
def dpmpp_sde(s: Step):
    """DPM-Solver++ (2S) on the SDE, each of the two stages with its ancestral noise."""
    if s.sigma_next == 0:
        return s.denoised
    r = within(s, "r", 1e-3, 1)
    middle = s.sigma * math.exp(-r * s.h)
    down_middle, up_middle = ancestral_split(s.sigma, middle, within(s, "eta", 0))
    first = _scaled_noise(s, 1.0, 0)
    x = s.denoised + down_middle / s.sigma * (s.x - s.denoised) + up_middle * first

    mixed = s.denoised + (s.denoise(x, middle) - s.denoised) / (2 * r)
    down, up = ancestral_split(s.sigma, s.sigma_next, s.options.eta)
    x = mixed + down / s.sigma * (s.x - mixed)
    # The noise of the whole step contains that of its first part, as increments of one Brownian motion do.
    carried = min(up, up_middle * (s.sigma_next / middle) ** 2)
    return x + carried * first + _scaled_noise(s, math.sqrt(up**2 - carried**2), 1)


@solver(
    "seeds-2",
    accuracy_order=1,
    evals_per_step=2,
    stochastic=True,
    paper="Gonzalez et al. 2023 (SEEDS), algorithm 2",
    eta=1.0,
    s_noise=1.0,
    r=0.5,
)
def seeds_2(s: Step):
    """SEEDS-2: two stages, the noise of the second continues that of the first."""
    if s.sigma_next == 0:
        return s.denoised
    eta, r, h = within(s, "eta", 0), within(s, "r", 1e-3, 1), s.h
    middle = s.sigma * math.exp(-r * h)
    first = _scaled_noise(s, _deviation(r * h, eta), 0)
    x = _decay(s.x, s.denoised, r * h, eta) + middle * first

    mixed = s.denoised + (s.denoise(x, middle) - s.denoised) / (2 * r)
    rest = _scaled_noise(s, _deviation((1 - r) * h, eta), 1)
    noise = math.exp(-eta * (1 - r) * h) * first + rest
    return _decay(s.x, mixed, h, eta) + s.sigma_next * noise


@solver(
    "dpmpp-2m-sde",
    accuracy_order=2,
    stochastic=True,
    history=1,
    paper="Lu et al. 2022 (DPM-Solver++), section 5, SDE-DPM-Solver++(2M)",
    eta=1.0,
    s_noise=1.0,
    solver_type="midpoint",
    lower_order_final=True,
)
def dpmpp_2m_sde(s: Step):
    """DPM-Solver++ (2M) on the SDE."""
    plain = s.is_last and s.options.lower_order_final and s.steps < 15
    x = _decay(s.x, s.denoised, s.h, within(s, "eta", 0))
    if s.sigma_next > 0 and s.history and not plain:
        x = x + _linear_weight(s) * _slope(s.denoised, s.half_log_snr, s.history[-1], s.h)
    return x + _noise(s)


@solver(
    "dpmpp-3m-sde",
    accuracy_order=2,
    stochastic=True,
    history=2,
    paper="Lu et al. 2022 (DPM-Solver++), section 5, third order in the manner of k-diffusion sample_dpmpp_3m_sde",
    eta=1.0,
    s_noise=1.0,
    curvature=1.0,
)
def dpmpp_3m_sde(s: Step):
    """DPM-Solver++ (3M) on the SDE: a parabola through three denoised samples.

    k-diffusion and diffusers give the second difference half of its weight, which makes the method second
    order; `curvature=0.5` does as they do. With eta = 0 it is of third order here.
    """
    x = _decay(s.x, s.denoised, s.h, within(s, "eta", 0))
    if s.sigma_next > 0 and s.history:
        phi_2 = _phi_2(s.h * (1 + s.options.eta))
        slope = _slope(s.denoised, s.half_log_snr, s.history[-1], s.h)
        if len(s.history) > 1:
            last, before = s.history[-1], s.history[-2]
            r0 = (s.half_log_snr - last.half_log_snr) / s.h
            r1 = (last.half_log_snr - before.half_log_snr) / s.h
            curvature = (slope - _slope(last.denoised, last.half_log_snr, before, s.h)) / (r0 + r1)
            slope = slope + r0 * curvature
            x = x + s.options.curvature * (1 - 2 * phi_2 / (s.h * (1 + s.options.eta))) * curvature
        x = x + phi_2 * slope
    return x + _noise(s)


def _decay(x, denoised, h: float, eta: float):
    """First-order step: the distance to the denoised sample shrinks by exp(-(1 + eta) h)."""
    return denoised + math.exp(-(1 + eta) * h) * (x - denoised)


def _deviation(h: float, eta: float) -> float:
    """Standard deviation of a step's noise, in units of σ_next."""
    return math.sqrt(-math.expm1(-2 * eta * h))


def _noise(s: Step):
    """Noise of a whole step; none in the step to σ = 0."""
    return _scaled_noise(s, s.sigma_next * _deviation(s.h, s.options.eta) if s.sigma_next > 0 else 0.0)


def _scaled_noise(s: Step, deviation: float, stage: int = 0):
    return s.options.s_noise * deviation * s.noise(stage) if s.options.eta > 0 and deviation > 0 else 0.0


def _slope(denoised, half_log_snr: float, earlier, h: float):
    """Change of the denoised sample over a λ of h, from the difference to an earlier step."""
    return (denoised - earlier.denoised) / ((half_log_snr - earlier.half_log_snr) / h)


def _phi_2(h: float) -> float:
    """Weight of a linear change of the denoised sample over the step, 1 - (1 - e^-h) / h."""
    return 1 + math.expm1(-h) / h


def _linear_weight(s: Step) -> float:
    h = s.h * (1 + s.options.eta)
    return _phi_2(h) if one_of(s, "solver_type", "midpoint", "heun") == "heun" else -math.expm1(-h) / 2
