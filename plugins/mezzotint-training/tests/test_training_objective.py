"""Every part of the loss against its closed form."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from mezzotint_training import NoiseSchedule, Objective, TrainingSettings
from mezzotint_training.objective import min_snr_weight, offset_noise, squared_errors, timesteps_from
from torch.testing import assert_close

KEYS = tuple((0, 0, index, 0) for index in range(6))
LATENTS = torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def scheduler():
    return DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


def objective(scheduler, **options) -> Objective:
    return Objective.of(TrainingSettings(**options), scheduler, torch.device("cpu"))


def test_noising_and_targets_equal_diffusers(scheduler):
    schedule, noise = NoiseSchedule.of(scheduler), torch.randn_like(LATENTS)
    timesteps = torch.tensor([0, 1, 500, 700, 998, 999])
    assert_close(
        schedule.add_noise(LATENTS, noise, timesteps), scheduler.add_noise(LATENTS, noise, timesteps)
    )
    velocity = scheduler.get_velocity(LATENTS, noise, timesteps)
    assert_close(schedule.target("v_prediction", LATENTS, noise, timesteps), velocity)
    assert schedule.target("epsilon", LATENTS, noise, timesteps) is noise
    assert schedule.target("sample", LATENTS, noise, timesteps) is LATENTS


def test_a_v_prediction_gives_back_latents_and_noise(scheduler):
    """x = sqrt(ᾱ) x_t − sqrt(1 − ᾱ) v, Salimans & Ho 2022, appendix D."""
    schedule, noise = NoiseSchedule.of(scheduler), torch.randn_like(LATENTS)
    timesteps = torch.tensor([3, 50, 500, 700, 998, 999])
    noisy = schedule.add_noise(LATENTS, noise, timesteps)
    v = schedule.target("v_prediction", LATENTS, noise, timesteps)
    assert_close(
        schedule.signal(timesteps) * noisy - schedule.noise(timesteps) * v, LATENTS, atol=1e-5, rtol=1e-5
    )


def test_zero_terminal_snr_ends_in_pure_noise_and_begins_as_before(scheduler):
    plain, rescaled = NoiseSchedule.of(scheduler), NoiseSchedule.of(scheduler, zero_terminal_snr=True)
    assert rescaled.alphas_cumprod[-1] == 0
    assert_close(rescaled.alphas_cumprod[0], plain.alphas_cumprod[0])
    root, last = plain.alphas_cumprod.sqrt(), plain.alphas_cumprod[-1].sqrt()
    # Lin et al. 2023, algorithm 1: shift to 0, scale back to the first.
    assert_close(
        rescaled.alphas_cumprod.sqrt(), (root - last) * root[0] / (root[0] - last), atol=1e-5, rtol=1e-4
    )
    assert plain.alphas_cumprod[-1] > 0


def test_min_snr_is_that_of_the_paper_and_of_diffusers(scheduler):
    timesteps = torch.arange(0, 1000, 37)
    snr = compute_snr(scheduler, timesteps)
    assert_close(NoiseSchedule.of(scheduler).snr(timesteps), snr)
    capped = torch.stack([snr, 5.0 * torch.ones_like(snr)], dim=1).min(dim=1)[0]
    assert_close(min_snr_weight(snr, 5.0, "epsilon"), capped / snr)
    assert_close(min_snr_weight(snr, 5.0, "v_prediction"), capped / (snr + 1))
    assert_close(min_snr_weight(snr, 5.0, "sample"), capped)


def test_min_snr_is_finite_where_nothing_of_the_picture_is_left():
    assert min_snr_weight(torch.zeros(1), 5.0, "epsilon") == 1
    assert min_snr_weight(torch.zeros(1), 5.0, "v_prediction") == 0


def test_weighted_losses_are_weight_times_loss(scheduler):
    plain, weighted = objective(scheduler), objective(scheduler, min_snr_gamma=5.0)
    a, b = plain.noised(LATENTS, KEYS), weighted.noised(LATENTS, KEYS)
    assert torch.equal(a.noisy, b.noisy)
    prediction = torch.zeros_like(LATENTS)
    weight = min_snr_weight(plain.schedule.snr(a.timesteps), 5.0, "epsilon")
    assert_close(weighted.losses(prediction, b), plain.losses(prediction, a) * weight)


def test_noise_offset_adds_a_constant_to_each_channel_and_moves_nothing_else(scheduler):
    plain = objective(scheduler).noised(LATENTS, KEYS)
    offset = objective(scheduler, noise_offset=0.1).noised(LATENTS, KEYS)
    assert torch.equal(plain.timesteps, offset.timesteps)
    added = offset.target - plain.target
    assert_close(added, added[..., :1, :1].expand_as(added), atol=1e-6, rtol=0)
    assert added.abs().max() > 0.01
    assert torch.equal(offset_noise(LATENTS, torch.ones(6, 4, 1, 1), 0.1), LATENTS + 0.1)


def test_the_spread_of_the_offset_is_its_amount(scheduler):
    keys = tuple((0, 0, index, 0) for index in range(1000))
    latents = torch.zeros(1000, 1, 1, 1)
    plain = objective(scheduler).noised(latents, keys)
    offset = objective(scheduler, noise_offset=0.1).noised(latents, keys)
    assert abs((offset.target - plain.target).std() - 0.1) < 0.012


def test_input_perturbation_changes_what_is_seen_and_not_what_is_asked(scheduler):
    plain = objective(scheduler).noised(LATENTS, KEYS)
    perturbed = objective(scheduler, input_perturbation=0.1).noised(LATENTS, KEYS)
    assert torch.equal(plain.target, perturbed.target)
    extra = (perturbed.noisy - plain.noisy) / NoiseSchedule.of(scheduler).noise(plain.timesteps)
    assert abs(extra.std() - 0.1) < 0.01


def test_a_masked_error_is_the_mean_over_what_the_mask_covers():
    prediction, target = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    target[..., :2] = 3.0
    mask = torch.zeros(2, 1, 4, 4)
    mask[0, ..., :2] = 1
    assert_close(squared_errors(prediction, target, mask), torch.tensor([9.0, 0.0]))
    mask[:] = 0.5
    assert_close(squared_errors(prediction, target, mask), torch.tensor([5.0, 5.0]))
    assert_close(squared_errors(prediction, target), torch.tensor([5.0, 5.0]))


def test_timesteps_stay_in_their_range_and_are_even(scheduler):
    keys = tuple((0, 0, index, 0) for index in range(4000))
    drawn = objective(scheduler, timestep_range=(0.25, 0.5)).timesteps(keys)
    assert drawn.min() >= 250
    assert drawn.max() < 500
    counts = torch.histc(drawn.float(), 5, 250, 500)
    assert counts.max() < 1.2 * counts.min()
    assert timesteps_from(torch.tensor([0.0, 0.999999]), 1000).tolist() == [0, 999]


def test_logit_normal_timesteps_prefer_the_middle(scheduler):
    keys = tuple((0, 0, index, 0) for index in range(2000))
    drawn = objective(scheduler, timestep_sampling="logit-normal").timesteps(keys) / 1000
    # P(σ(Z) < 1/4) = Φ(−ln 3) = 0.136.
    assert abs((drawn < 0.25).float().mean() - 0.136) < 0.025


def test_chance_is_a_function_of_the_sample_and_not_of_its_batch(scheduler):
    together = objective(scheduler).noised(LATENTS, KEYS)
    alone = objective(scheduler).noised(LATENTS[3:4], KEYS[3:4])
    assert torch.equal(together.noisy[3:4], alone.noisy)
    assert torch.equal(together.timesteps[3:4], alone.timesteps)


def test_the_models_own_prediction_type_is_used():
    scheduler = DDPMScheduler(prediction_type="v_prediction")
    assert objective(scheduler).prediction_type == "v_prediction"
    assert objective(scheduler, prediction_type="epsilon").prediction_type == "epsilon"
