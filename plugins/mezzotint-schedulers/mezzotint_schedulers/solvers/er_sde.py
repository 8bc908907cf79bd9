"""ER-SDE: solvers of extended reverse-time SDEs (Cui et al. 2023)."""

import math

from mezzotint.scheduling import Step, solver

from ..option_range import one_of, within
from .lagrange import lagrange_weights


@solver(
    "er-sde",
    accuracy_order=2,
    stochastic=True,
    history=2,
    paper="Cui et al. 2023 (ER-SDE-Solver), algorithm 3 and eq. 29",
    order=3,
    s_noise=1.0,
    scale="er-sde-5",
)
def er_sde(s: Step):
    """ER-SDE: noise strength by a scale function φ(σ); φ(σ) = σ (`scale="ode"`) has none."""
    if s.sigma_next == 0:
        return s.denoised
    phi, sigma, target = _SCALES[one_of(s, "scale", *_SCALES)], s.sigma, s.sigma_next
    ratio = phi(target) / phi(sigma)
    x = ratio * s.x + (1 - ratio) * s.denoised
    nodes = [s, *reversed(s.history)][: within(s, "order", 1, 3)]
    if len(nodes) > 1:
        slope = _slope(nodes[0], nodes[1])
        if len(nodes) > 2:
            curvature = (slope - _slope(nodes[1], nodes[2])) / (sigma - nodes[2].sigma)
            # The parabola's slope at σ; with the chord alone, as the paper has it, this term is lost in it.
            slope = slope + curvature * (sigma - nodes[1].sigma)
            x = x + 2 * _moment(phi, sigma, target, 2) * curvature
        x = x + _moment(phi, sigma, target, 1) * slope
    deviation = math.sqrt(max(target**2 - (sigma * ratio) ** 2, 0.0))
    return x + s.options.s_noise * deviation * s.noise() if s.options.scale != "ode" else x


_SCALES = {
    "er-sde-5": lambda sigma: sigma * (math.exp(sigma**0.3) + 10),
    "ode": lambda sigma: sigma,
}
"""φ of the paper's section 4.2, ER-SDE 5, and of the probability-flow ODE."""


def _slope(later, earlier):
    return (later.denoised - earlier.denoised) / (later.sigma - earlier.sigma)


def _moment(phi, sigma: float, target: float, power: int) -> float:
    """Weight of (σ - σ_start)^power / power! of the denoised sample over the step (the paper's integrals)."""
    import numpy as np

    def density(u):
        levels = np.exp(u)
        return (levels - sigma) ** (power - 1) * levels / np.array([phi(level) for level in levels])

    (integral,) = lagrange_weights([0.0], math.log(target), math.log(sigma), density)
    return (target - sigma) ** power / power + phi(target) * integral
