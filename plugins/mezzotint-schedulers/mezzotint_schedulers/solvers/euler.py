"""Euler's method and its ancestral variant."""

from mezzotint.scheduling import Step, solver

from .ancestral import ancestral_step, renoised


@solver("euler", accuracy_order=1, start="spacing", paper="Karras et al. 2022, algorithm 1 without lines 6-8")
def euler(s: Step):
    """Euler's method on the probability-flow ODE."""
    return s.euler(s.sigma_next)


@solver(
    "euler-cfg-pp",
    accuracy_order=1,
    unconditional=True,
    start="spacing",
    paper="Chung et al. 2024 (CFG++), algorithm 2, deterministic",
    also=("ddim-cfg-pp",),
)
def euler_cfg_pp(s: Step):
    """Euler's method that renoises with the unconditional prediction; `guidance` is the paper's λ, 0 to 1.

    Of first order without guidance. With guidance it has no limit: every step adds the same λ, so that more
    steps guide more.
    """
    return s.denoised + s.sigma_next / s.sigma * (s.x - s.uncond_denoised)


@solver(
    "euler-ancestral-cfg-pp",
    accuracy_order=1,
    stochastic=True,
    unconditional=True,
    start="spacing",
    paper="Chung et al. 2024 (CFG++), algorithm 2 with the noise of DDIM, Song et al. 2020, eq. 16",
    eta=1.0,
    s_noise=1.0,
)
def euler_ancestral_cfg_pp(s: Step):
    """CFG++ down past the target, then fresh noise up to it."""
    down, up = ancestral_step(s)
    x = s.denoised + down / s.sigma * (s.x - s.uncond_denoised)
    return renoised(s, x, up)


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
    down, up = ancestral_step(s)
    x = s.euler(down)
    return renoised(s, x, up)
