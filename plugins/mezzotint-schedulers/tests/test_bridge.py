"""Every scheduler class of diffusers by name."""

import diffusers
import mezzotint_schedulers
import pytest
import torch
from mezzotint.errors import RequestError, UnknownNameError
from mezzotint.testing import tiny_pipeline
from mezzotint_schedulers.bridge import LEFT_OUT, class_names

SD1 = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}
"""The scheduler config of Stable Diffusion 1.5, as it is published."""
OWN_NOISE_SCHEDULE = {
    "CMStochasticIterativeScheduler",
    "CosineDPMSolverMultistepScheduler",
    "EDMDPMSolverMultistepScheduler",
    "EDMEulerScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "IPNDMScheduler",
    "SCMScheduler",
}


@pytest.mark.parametrize("name", class_names())
def test_every_class_is_made_from_stable_diffusions_config(make, name, caplog):
    if name == "UnCLIPScheduler":
        with pytest.raises(
            RequestError, match="UnCLIPScheduler cannot be made from this config: .*squaredcos_cap_v2"
        ):
            make(f"diffusers:{name}", like=SD1)
        return
    scheduler = make(f"diffusers:{name}", like=SD1)
    assert type(scheduler) is getattr(diffusers, name)
    assert ("ignores this model's" in caplog.text) is (name in OWN_NOISE_SCHEDULE)
    if name not in OWN_NOISE_SCHEDULE:
        assert scheduler.config.beta_end == 0.012


@pytest.mark.parametrize("name", sorted(set(class_names()) - OWN_NOISE_SCHEDULE - {"UnCLIPScheduler"}))
def test_every_class_that_follows_the_model_is_driven_by_the_loop(make, run, name):
    assert run(make(f"diffusers:{name}", like=SD1), 6).isfinite().all()


def test_a_run_of_dpm_solver_sde_is_seeded(tmp_path):
    """By itself it draws from torch's global generator, whatever the run's seed is."""
    pytest.importorskip("torchsde")
    pipe = tiny_pipeline(tmp_path, plugins=[mezzotint_schedulers])
    run = {"steps": 3, "scheduler": "diffusers:DPMSolverSDEScheduler"}
    both = pipe("a cat", seed=1, n=2, **run).latents
    again = pipe("a cat", seed=1, n=2, **run).latents
    alone = pipe("a cat", seed=2, **run).latents
    other = pipe("a cat", seed=3, **run).latents
    assert torch.equal(both, again)
    torch.testing.assert_close(both[1:], alone, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(alone, other, atol=0.1)


def test_no_class_of_diffusers_is_forgotten():
    """A new class of diffusers is either listed, or left out with a reason."""
    for name in dir(diffusers):
        found = getattr(diffusers, name) if name.endswith("Scheduler") else None
        if isinstance(found, type) and issubclass(found, diffusers.SchedulerMixin):
            assert (name in class_names()) is not (name in LEFT_OUT), name


def test_a_misspelt_class_is_met_with_its_neighbours(make):
    with pytest.raises(UnknownNameError, match="did you mean UniPCMultistepScheduler"):
        make("diffusers:UniPCMultiStepScheduler")


def test_without_a_model_it_has_stable_diffusions_noise_schedule(make):
    scheduler = make("diffusers:EulerDiscreteScheduler", "karras")
    assert scheduler.config.beta_end == 0.012
    assert scheduler.config.use_karras_sigmas is True


def test_a_class_is_what_diffusers_makes_of_the_config_bit_for_bit(make, run):
    expected = run(diffusers.UniPCMultistepScheduler.from_config(dict(SD1)), 7)
    assert torch.equal(run(make("diffusers:UniPCMultistepScheduler", like=SD1), 7), expected)
