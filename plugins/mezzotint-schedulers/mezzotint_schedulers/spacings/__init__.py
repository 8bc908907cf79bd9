"""Spacings: pure functions from a number of steps and a model's noise levels to n + 1 falling σ."""

from . import align_your_steps, beta, comfy, gits, sigma_range, timesteps

SPACINGS = (
    timesteps.leading_ddim,
    timesteps.leading_dpm,
    timesteps.linspace_ddim,
    timesteps.linspace_dpm,
    timesteps.linspace_euler,
    timesteps.trailing,
    sigma_range.karras,
    sigma_range.exponential,
    sigma_range.polyexponential,
    sigma_range.kl_optimal_comfy,
    sigma_range.kl_optimal_a1111,
    beta.beta_comfy,
    beta.beta_diffusers,
    comfy.uniform,
    comfy.sgm_uniform,
    comfy.simple,
    comfy.ddim_uniform,
    comfy.lcm,
    comfy.linear_quadratic,
    align_your_steps.ays_sd1_comfy,
    align_your_steps.ays_sd1_a1111,
    align_your_steps.ays_sdxl_comfy,
    align_your_steps.ays_sdxl_a1111,
    gits.gits,
)
