"""Exponential Adams methods: earlier denoised samples interpolated in λ = log(α/σ), integrated exactly."""

import math

from mezzotint.scheduling import Step, solver

from ..option_range import within
from .lagrange import lagrange_weights


@solver(
    "res-multistep",
    accuracy_order=2,
    history=1,
    paper="Zhang et al. 2023 (improved order analysis of exponential integrators), eq. 17, multistep",
)
def res_multistep(s: Step):
    """RES: a line through the last two denoised samples."""
    if s.sigma_next == 0:
        return s.denoised
    return math.exp(-s.h) * s.x + _integral(s, [s, *s.history[-1:]], s.half_log_snr_next, 0.0)


@solver(
    "sa-solver",
    accuracy_order=2,
    stochastic=True,
    history=3,
    paper="Xue et al. 2023 (SA-Solver), algorithm 1 with eq. 14 and 17",
    tau=1.0,
    tau_sigma_low=0.6,
    tau_sigma_high=5.0,
    predictor_order=2,
    corrector_order=3,
    s_noise=1.0,
    lower_order_final=True,
)
def sa_solver(s: Step):
    """SA-Solver: stochastic Adams predictor and corrector, noise of strength tau at middle noise levels.

    The orders are numbers of interpolated samples. Those of the corrector begin with the new one, so that
    it costs no evaluation; 0 leaves it out. It keeps the noise of the step that it corrects.
    """
    x = s.x
    if within(s, "corrector_order", 0, 4) and s.history:
        last = s.history[-1]
        nodes = [s, *s.history[::-1]][: s.options.corrector_order]
        h = s.half_log_snr - last.half_log_snr
        tau = _tau(s, last.sigma)
        drift = math.exp(-(1 + tau**2) * h) * last.carry["corrected"]
        x = drift + _integral(last, nodes, s.half_log_snr, tau) + last.carry["noise"]
    if s.sigma_next == 0:
        return s.denoised
    order = within(s, "predictor_order", 1, 4)
    if s.options.lower_order_final:
        order = min(order, s.steps - s.index)
    tau = _tau(s, s.sigma)
    noise = 0 * x
    if tau > 0:
        deviation = s.sigma_next * math.sqrt(-math.expm1(-2 * tau**2 * s.h))
        noise = s.options.s_noise * deviation * s.noise()
    drift = math.exp(-(1 + tau**2) * s.h) * x
    integral = _integral(s, [s, *s.history[::-1]][:order], s.half_log_snr_next, tau)
    return drift + integral + noise, {"corrected": x, "noise": noise}


def _tau(s: Step, sigma: float) -> float:
    return within(s, "tau", 0) if s.options.tau_sigma_low <= sigma <= s.options.tau_sigma_high else 0.0


def _integral(start, nodes, end: float, tau: float):
    """∫ (1 + τ²) exp(-(1 + τ²)(λ_end - λ)) D(λ) dλ from the start's λ, D through the nodes."""
    import numpy as np

    rate = 1 + tau**2
    weights = lagrange_weights(
        [node.half_log_snr for node in nodes],
        start.half_log_snr,
        end,
        lambda u: rate * np.exp(-rate * (end - u)),
    )
    total = weights[0] * nodes[0].denoised
    for weight, node in zip(weights[1:], nodes[1:], strict=True):
        total = total + weight * node.denoised
    return total
