"""Noise of a run: fixed by seed, sample, step and stage, whatever else is in the batch."""

import pytest
import torch
from mezzotint.errors import RequestError
from mezzotint.scheduling.noise import keyed_noise, sample_keys


def test_an_image_of_a_batch_is_the_image_alone_bit_for_bit(make, run):
    batch = run(make(), seeds=(5, 6, 7))
    for row, seed in enumerate((5, 6, 7)):
        assert torch.equal(batch[row : row + 1], run(make(), seeds=(seed,)))


def test_the_state_of_a_generator_does_not_matter(make, turns):
    def end(draws):
        scheduler = make()
        scheduler.set_timesteps(3)
        generator = torch.Generator().manual_seed(3)
        torch.randn(draws, generator=generator)
        *_, x = turns(scheduler, torch.ones(1, 2, 4, 4), [generator])
        return x

    assert torch.equal(end(0), end(1000))


def test_one_generator_for_a_batch_gives_each_sample_its_own_noise(make, turns):
    scheduler = make()
    scheduler.set_timesteps(3)
    *_, x = turns(scheduler, torch.ones(2, 2, 4, 4), torch.Generator().manual_seed(3))
    assert not torch.equal(x[0], x[1])


def test_without_generator_the_global_seed_decides(make, turns):
    def end(seed):
        scheduler = make()
        scheduler.set_timesteps(3)
        torch.manual_seed(seed)
        *_, x = turns(scheduler, torch.ones(1, 2, 4, 4))
        return x

    assert torch.equal(end(1), end(1))
    assert not torch.equal(end(1), end(2))


def test_every_part_of_the_key_counts():
    like = torch.empty(1, 4, 8, 8)
    draws = [
        keyed_noise([(seed, sample)], step, stage, like).flatten()
        for seed in (1, 2)
        for sample in (0, 1)
        for step in (0, 1)
        for stage in (0, 1)
    ]
    correlations = torch.corrcoef(torch.stack(draws)) - torch.eye(len(draws))
    # 256 numbers each: independent draws correlate with a standard deviation of 1/16.
    assert correlations.abs().max() < 0.3


def test_the_noise_is_not_that_of_the_first_latents():
    like = torch.empty(1, 4, 8, 8)
    latents = torch.randn(like.shape, generator=torch.Generator().manual_seed(1))
    noise = keyed_noise([(1, 0)], 0, 0, like)
    assert torch.corrcoef(torch.stack([latents.flatten(), noise.flatten()]))[0, 1].abs() < 0.3


def test_the_noise_is_standard_normal_and_the_same_in_every_dtype():
    noise = keyed_noise([(1, 0)], 0, 0, torch.empty(1, 1, 400, 400))
    assert noise.mean().abs() < 0.01
    assert (noise.std() - 1).abs() < 0.01
    half = keyed_noise([(1, 0)], 0, 0, torch.empty(1, 1, 400, 400, dtype=torch.float16))
    assert torch.equal(half, noise.half())


def test_a_list_of_generators_must_fit_the_batch():
    with pytest.raises(RequestError, match="1 generators for 2 samples"):
        sample_keys([torch.Generator()], 2)
