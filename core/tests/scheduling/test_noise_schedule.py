"""Noise levels of a model, against diffusers' own tables."""

import diffusers
import numpy as np
import pytest
import torch
from mezzotint.errors import RequestError
from mezzotint.scheduling.model_config import DEFAULTS
from mezzotint.scheduling.noise_schedule import alphas_cumprod, noise_schedule


def settings(**changes):
    return {**DEFAULTS, **changes}


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"])
@pytest.mark.parametrize("rescaled", [False, True])
def test_alphas_are_those_of_diffusers(schedule, rescaled):
    theirs = diffusers.DDPMScheduler(
        beta_schedule=schedule, beta_start=1e-4, beta_end=0.02, rescale_betas_zero_snr=rescaled
    ).alphas_cumprod.double()
    ours = torch.from_numpy(
        alphas_cumprod(
            settings(beta_schedule=schedule, beta_start=1e-4, beta_end=0.02, rescale_betas_zero_snr=rescaled)
        )
    )
    # Theirs is a product of 1000 float32 numbers; of the last, nearly 0 after rescaling, little is left.
    torch.testing.assert_close(ours[:-1], theirs[:-1], rtol=2e-4, atol=2e-7)


def test_zero_terminal_snr_ends_at_the_level_that_diffusers_uses():
    ours = noise_schedule(settings(rescale_betas_zero_snr=True)).sigmas
    euler = diffusers.EulerDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, rescale_betas_zero_snr=True
    )
    assert ours[-1] == pytest.approx(float(euler.sigmas[0]), rel=1e-6) == pytest.approx(4096, rel=1e-6)


def test_zero_terminal_snr_keeps_the_first_level():
    plain, rescaled = (alphas_cumprod(settings(rescale_betas_zero_snr=on)) for on in (False, True))
    assert rescaled[0] == pytest.approx(plain[0], rel=1e-12)
    assert rescaled[-2] < 0.1 * plain[-2]


def test_trained_betas_are_taken_as_they_are():
    config = settings(trained_betas=[0.1, 0.2], num_train_timesteps=2)
    np.testing.assert_allclose(alphas_cumprod(config), [0.9, 0.72])


@pytest.mark.parametrize("flow", [False, True])
def test_timesteps_and_levels_are_inverse_to_each_other(flow):
    schedule = noise_schedule(settings(use_flow_sigmas=flow, flow_shift=3.0 if flow else 1.0))
    for t in (1, 7, 500, 998, 999):
        assert schedule.timestep_at(schedule.sigma_of_timestep(t)) == t
    for t in (0.25, 33.3, 998.5):
        assert schedule.timestep_at(schedule.sigma_of_timestep(t)) == pytest.approx(t, abs=1e-9)


def test_whole_timesteps_stay_exactly_whole():
    schedule = noise_schedule(settings())
    assert all(schedule.timestep_at(schedule.sigma_at(t)) == t for t in range(1000))


def test_flow_levels_are_those_of_flow_match_euler():
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0).sigmas.flip(0).double()
    sigmas = torch.from_numpy(noise_schedule(settings(use_flow_sigmas=True, flow_shift=3.0)).sigmas)
    torch.testing.assert_close(sigmas / (1 + sigmas), theirs, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize(("flow", "norm"), [(False, 2), (True, 1)])
def test_the_frame_keeps_what_its_kind_of_model_keeps(flow, norm):
    schedule = noise_schedule(settings(use_flow_sigmas=flow))
    alpha = schedule.alpha(2.5)
    assert alpha**norm + (alpha * 2.5) ** norm == pytest.approx(1)


def test_an_interval_ends_once():
    at_zero, at_first = (noise_schedule(settings(), ends_at_first_timestep=ends) for ends in (False, True))
    lowest = float(at_first.sigmas[0])
    assert at_zero.finish([2, 1]) == [2, 1, 0]
    assert at_first.finish([2, 1]) == [2, 1, lowest]
    # Repeating the last level would be a step that does nothing, diffusers' old bug.
    assert at_first.finish([2, lowest]) == [2, lowest, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta_schedule": "quadratic"}, "'quadratic' is not known; there are linear"),
        ({"beta_end": 1.5}, r"betas must lie in \(0, 1\]"),
        ({"trained_betas": [0.1, -0.1]}, r"betas must lie in \(0, 1\]"),
    ],
)
def test_impossible_betas_are_refused(changes, message):
    with pytest.raises(RequestError, match=message):
        noise_schedule(settings(**changes))
