"""Sampling of consistency models."""

from mezzotint.scheduling import Step, solver


@solver(
    "lcm",
    accuracy_order=0,
    stochastic=True,
    paper="Song et al. 2023 (consistency models), algorithm 1; Luo et al. 2023 (LCM), algorithm 3",
)
def lcm(s: Step):
    """Jump to the clean sample, then add fresh noise of the next level; for distilled models."""
    return s.denoised + s.sigma_next * s.noise() if not s.is_last else s.denoised
