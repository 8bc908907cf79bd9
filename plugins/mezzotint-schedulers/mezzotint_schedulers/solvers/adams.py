"""Adams-Bashforth methods: one evaluation a step, earlier slopes interpolated."""

import math

from mezzotint.scheduling import Step, solver

from ..option_range import within
from .lagrange import lagrange_weights


@solver(
    "lms",
    accuracy_order=4,
    history=3,
    start="spacing",
    paper="Adams-Bashforth on Karras et al. 2022, eq. 3; k-diffusion sample_lms",
    order=4,
)
def lms(s: Step):
    """Linear multistep: slopes interpolated in σ."""
    past = _past(s, within(s, "order", 1, 4))
    weights = lagrange_weights([s.sigma, *(p.sigma for p in past)], s.sigma, s.sigma_next)
    return s.x + _dot(weights, s, past)


@solver(
    "deis",
    accuracy_order=3,
    history=2,
    paper="Zhang & Chen 2022 (DEIS), eq. 13, tAB in log ρ",
    order=3,
    lower_order_final=True,
)
def deis(s: Step):
    """DEIS: slopes interpolated in log σ."""
    order = within(s, "order", 1, 3)
    if s.options.lower_order_final and s.steps < 15:
        order = min(order, s.steps - s.index)
    if s.sigma_next == 0:
        return s.denoised
    past = _past(s, order)
    import numpy as np

    nodes = [math.log(s.sigma), *(math.log(p.sigma) for p in past)]
    return s.x + _dot(lagrange_weights(nodes, nodes[0], math.log(s.sigma_next), np.exp), s, past)


_IPNDM = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


@solver(
    "ipndm",
    accuracy_order=1,
    history=3,
    paper="Liu et al. 2022 (PNDM), eq. 12, with the lower-order start of Zhang & Chen 2022",
    order=4,
)
def ipndm(s: Step):
    """iPNDM: the weights of equal steps whatever the steps are; of higher order only where they are equal."""
    past = _past(s, within(s, "order", 1, 4))
    weights = [(s.sigma_next - s.sigma) * weight for weight in _IPNDM[len(past)]]
    return s.x + _dot(weights, s, past)


@solver(
    "gradient-estimation",
    accuracy_order=1,
    history=1,
    paper="Permenter & Yuan 2023, algorithm 2",
    gamma=2.0,
)
def gradient_estimation(s: Step):
    """Euler's method with the noise estimate γ ε + (1 - γ) ε_last."""
    slope = s.derivative
    if s.history:
        slope = s.options.gamma * slope + (1 - s.options.gamma) * s.history[-1].derivative
    return s.x + (s.sigma_next - s.sigma) * slope


def _past(s: Step, order: int):
    """Earlier steps for a method of this order, the previous one first."""
    return s.history[::-1][: order - 1]


def _dot(weights, s: Step, past):
    total = weights[0] * s.derivative
    for weight, earlier in zip(weights[1:], past, strict=True):
        total = total + weight * earlier.derivative
    return total
