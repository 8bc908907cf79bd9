"""Names as the web UIs write them are names here, or one sentence says what to write."""

from __future__ import annotations

import re

import mezzotint
import mezzotint_schedulers
import pytest
from mezzotint import Registry
from mezzotint.errors import RequestError, UnknownNameError
from mezzotint.scheduling import familiar_names, find_scheduler, find_spacing
from mezzotint.testing import tiny_pipeline

REGISTRY = Registry.load([mezzotint_schedulers], entry_points=[])


def here(scheduler, spacing=None):
    return familiar_names(scheduler, spacing, REGISTRY.schedulers, REGISTRY.spacings)


A1111 = {
    "DPM++ 2M": "dpmpp-2m",
    "DPM++ SDE": "dpmpp-sde",
    "DPM++ 2M SDE": "dpmpp-2m-sde",
    "DPM++ 2S a": "dpmpp-2s-ancestral",
    "DPM++ 3M SDE": "dpmpp-3m-sde",
    "Euler a": "euler-ancestral",
    "Euler": "euler",
    "LMS": "lms",
    "Heun": "heun",
    "DPM2": "dpm2",
    "DPM2 a": "dpm2-ancestral",
    "Restart": "restart",
    "DDIM": "ddim",
    "DDIM CFG++": "euler-cfg-pp",
    "UniPC": "unipc",
    "LCM": "lcm",
}
"""Samplers of A1111's web UI 1.10 (modules/sd_samplers*.py)."""
A1111_ABSENT = ("DPM++ 2M SDE Heun", "DPM fast", "DPM adaptive", "PLMS")
A1111_SPACINGS = {
    "Uniform": "uniform",
    "Karras": "karras",
    "Exponential": "exponential",
    "Polyexponential": "polyexponential",
    "SGM Uniform": "sgm-uniform",
    "KL Optimal": "kl-optimal",
    "Simple": "simple",
    "Normal": "uniform",
    "DDIM": "ddim-uniform",
    "Beta": "beta",
}
"""Its schedule types (modules/sd_schedulers.py)."""
A1111_SPACINGS_ABSENT = ("Automatic", "Align Your Steps")
COMFY = {
    "euler": "euler",
    "euler_cfg_pp": "euler-cfg-pp",
    "euler_ancestral": "euler-ancestral",
    "euler_ancestral_cfg_pp": "euler-ancestral-cfg-pp",
    "heun": "heun",
    "dpm_2": "dpm2",
    "dpm_2_ancestral": "dpm2-ancestral",
    "lms": "lms",
    "dpmpp_2s_ancestral": "dpmpp-2s-ancestral",
    "dpmpp_sde": "dpmpp-sde",
    "dpmpp_sde_gpu": "dpmpp-sde",
    "dpmpp_2m": "dpmpp-2m",
    "dpmpp_2m_sde": "dpmpp-2m-sde",
    "dpmpp_2m_sde_gpu": "dpmpp-2m-sde",
    "dpmpp_3m_sde": "dpmpp-3m-sde",
    "dpmpp_3m_sde_gpu": "dpmpp-3m-sde",
    "ddpm": "ddpm",
    "lcm": "lcm",
    "ipndm": "ipndm",
    "deis": "deis",
    "res_multistep": "res-multistep",
    "gradient_estimation": "gradient-estimation",
    "er_sde": "er-sde",
    "seeds_2": "seeds-2",
    "sa_solver": "sa-solver",
    "ddim": "ddim",
    "uni_pc": "unipc",
}
"""`KSampler.SAMPLERS` of ComfyUI (comfy/samplers.py)."""
COMFY_ABSENT = (
    *("heunpp2", "dpm_fast", "dpm_adaptive", "dpmpp_2s_ancestral_cfg_pp", "dpmpp_2m_cfg_pp", "ipndm_v"),
    *("dpmpp_2m_sde_heun", "res_multistep_cfg_pp", "res_multistep_ancestral", "gradient_estimation_cfg_pp"),
    *("seeds_3", "sa_solver_pece", "uni_pc_bh2", "exp_heun_2_x0"),
)
COMFY_SPACINGS = {
    "simple": "simple",
    "sgm_uniform": "sgm-uniform",
    "karras": "karras",
    "exponential": "exponential",
    "ddim_uniform": "ddim-uniform",
    "beta": "beta",
    "normal": "uniform",
    "linear_quadratic": "linear-quadratic",
    "kl_optimal": "kl-optimal",
}
"""`KSampler.SCHEDULERS` of ComfyUI."""


@pytest.mark.parametrize(("samplers", "spacings"), [(A1111, A1111_SPACINGS), (COMFY, COMFY_SPACINGS)])
def test_every_pair_of_a_web_ui_is_understood_apart_and_joined(samplers, spacings):
    for sampler, solver in samplers.items():
        assert here(sampler) == (solver, None)
        assert solver in REGISTRY.schedulers
        for theirs, spacing in spacings.items():
            assert here(sampler, theirs) == (solver, spacing)
            for joined in (f"{sampler} {theirs}", f"{sampler}_{theirs}".upper()):
                # ComfyUI's ddim_uniform is a spacing, and is refused below.
                assert here(joined) == (solver, spacing) or (sampler.lower(), spacing) == ("ddim", "uniform")
            find_spacing(spacing, REGISTRY.spacings)


def test_names_here_mean_themselves():
    for name in REGISTRY.schedulers:
        assert here(name) == (name, None)
    for name in REGISTRY.spacings:
        assert here(None, name) == (None, name)
        assert find_spacing(name, REGISTRY.spacings) is REGISTRY.spacings[name]
    assert here("diffusers:EulerDiscreteScheduler", "Karras") == (
        "diffusers:EulerDiscreteScheduler",
        "karras",
    )


@pytest.mark.parametrize("name", [*A1111_ABSENT, *COMFY_ABSENT])
def test_what_is_not_there_is_not_taken_for_another(name):
    assert here(name) == (name, None)
    with pytest.raises(UnknownNameError, match=r"no scheduler named .*; (did you mean|there are)"):
        find_scheduler(name, REGISTRY.schedulers, REGISTRY.families, REGISTRY.spacings)


@pytest.mark.parametrize("name", A1111_SPACINGS_ABSENT)
def test_a_spacing_that_depends_on_the_model_there_is_said_to_be_unknown(name):
    with pytest.raises(UnknownNameError, match=f"no spacing named '{name}'"):
        find_spacing(name, REGISTRY.spacings)


@pytest.mark.parametrize(
    ("name", "spacing", "sentence"),
    [
        (
            "DPM++ 2M Karas",
            None,
            "no scheduler named 'DPM++ 2M Karas'; did you mean scheduler dpmpp-2m and spacing karras",
        ),
        ("karras", None, "'karras'; karras is a spacing: give it as spacing (--spacing karras)"),
        ("ddim_uniform", None, "ddim-uniform is a spacing: give it"),
        ("SGM Uniform", None, "sgm-uniform is a spacing: give it"),
        ("euler", "KARASS", "no spacing named 'KARASS'; did you mean karras"),
        (
            "DPM++ 2M Karras",
            "beta",
            "names the spacing karras, but beta is asked for; write scheduler 'dpmpp-2m'",
        ),
    ],
)
def test_a_slip_is_one_sentence(name, spacing, sentence):
    with pytest.raises((UnknownNameError, RequestError), match=re.escape(sentence)):
        mezzotint.scheduler(name, spacing)


def test_a_scheduler_by_such_a_name_is_that_by_its_own():
    theirs, own = mezzotint.scheduler("DPM++ 2M Karras"), mezzotint.scheduler("dpmpp-2m", "karras")
    assert dict(theirs.config) == dict(own.config)
    assert mezzotint.scheduler("Euler a", "Karras").spacing.name == "karras"


def test_a_run_and_its_recipe_have_the_names_of_here(tmp_path):
    pipe = tiny_pipeline(tmp_path, plugins=[mezzotint_schedulers])
    made = pipe("a cat", steps=2, seed=1, scheduler="Euler a Karras")
    own = pipe("a cat", steps=2, seed=1, scheduler="euler-ancestral", spacing="karras")
    assert made.latents.equal(own.latents)
    assert made.recipe["scheduler"] == own.recipe["scheduler"]
