"""DDPM and DDIM: one family, from ancestral to deterministic."""

from mezzotint.scheduling import Step, solver

from .ancestral import ancestral_step


@solver("ddpm", accuracy_order=1, stochastic=True, paper="Ho et al. 2020 (DDPM), algorithm 2 and eq. 7")
def ddpm(s: Step):
    """Ancestral sampling: draw x_next from the posterior q(x_next | x, x0) with the predicted x0."""
    ratio = (s.sigma_next / s.sigma) ** 2
    mean = s.euler(ratio * s.sigma)
    deviation = s.sigma_next * (1 - ratio) ** 0.5
    return mean + deviation * s.noise() if deviation > 0 else mean


@solver(
    "ddim", accuracy_order=1, final_sigma="config", paper="Song et al. 2020 (DDIM), eq. 12 and 16", eta=0.0
)
def ddim(s: Step):
    """DDIM: with eta = 0 Euler's method in this frame, with eta = 1 DDPM."""
    down, up = ancestral_step(s)
    x = s.euler(down)
    return x + up * s.noise() if up > 0 else x
