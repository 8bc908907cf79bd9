"""Euler's method and its ancestral variant."""

from mezzotint.scheduling import Step, solver

from .ancestral import ancestral_split


@solver("euler", accuracy_order=1, start="spacing", paper="Karras et al. 2022, algorithm 1 without lines 6-8")
def euler(s: Step):
    """Euler's method on the probability-flow ODE."""
    return s.euler(s.sigma_next)


@solver(
    "euler-ancestral",
    accuracy_order=1,
    stochastic=True,
    start="spacing",
    paper="Song et al. 2020 (DDIM), eq. 16; k-diffusion sample_euler_ancestral",
    eta=1.0,
    s_noise=1.0,
)
def euler_ancestral(s: Step):
    """Euler down past the target, then fresh noise up to it."""
    down, up = ancestral_split(s.sigma, s.sigma_next, s.options.eta)
    x = s.euler(down)
    return x + s.options.s_noise * up * s.noise() if up > 0 else x
