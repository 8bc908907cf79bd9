"""Solvers: one file a family, each function reads like the algorithm of its paper."""

from . import adams, ddim, dpm2, dpmpp, dpmpp_sde, er_sde, euler, exponential_adams, heun, lcm, unipc

SOLVERS = (
    ddim.ddpm,
    ddim.ddim,
    euler.euler,
    euler.euler_ancestral,
    euler.euler_cfg_pp,
    euler.euler_ancestral_cfg_pp,
    heun.heun,
    heun.restart,
    dpm2.dpm2,
    dpm2.dpm2_ancestral,
    adams.lms,
    adams.deis,
    adams.ipndm,
    adams.gradient_estimation,
    dpmpp.dpmpp_2m,
    dpmpp.dpmpp_2s_ancestral,
    dpmpp_sde.dpmpp_sde,
    dpmpp_sde.dpmpp_2m_sde,
    dpmpp_sde.dpmpp_3m_sde,
    dpmpp_sde.seeds_2,
    unipc.unipc,
    exponential_adams.res_multistep,
    exponential_adams.sa_solver,
    er_sde.er_sde,
    lcm.lcm,
)
