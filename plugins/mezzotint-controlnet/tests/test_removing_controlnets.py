"""The model is as it was: after every order, errors at any step, and inside `using`."""

from itertools import permutations

import pytest
import torch
from mezzotint.errors import RequestError
from mezzotint.testing import fingerprint
from mezzotint_controlnet import ControlNet
from tiny_networks import noise_picture


def test_every_order_of_three_leaves_the_fingerprint(pipe, edges, depth, make_controlnet):
    folders = [edges, depth, make_controlnet(9)]
    use = [ControlNet(folder, noise_picture(k), mask=noise_picture(k)) for k, folder in enumerate(folders)]
    before = fingerprint(pipe)
    for order in permutations(use):
        pipe("a cat", steps=1, use=order)
        assert fingerprint(pipe) == before


def test_an_error_in_the_middle_leaves_the_fingerprint(pipe, edges, picture):
    def stop(progress):
        if progress.index == 1:
            raise KeyboardInterrupt

    before = fingerprint(pipe)
    with pytest.raises(KeyboardInterrupt):
        pipe("a cat", steps=3, use=[ControlNet(edges, picture)], on_step=stop)
    assert fingerprint(pipe) == before


def test_it_stays_attached_over_several_runs(pipe, edges, picture, latents):
    expected = latents(ControlNet(edges, picture))
    with pipe.using(ControlNet(edges, picture)):
        assert torch.equal(latents(), expected)
        assert torch.equal(latents(), expected)


def test_the_recipes_options_give_the_same_bits_again(pipe, edges, picture, tmp_path, latents):
    picture.save(tmp_path / "picture.png")
    use = [ControlNet(edges, tmp_path / "picture.png", 0.8, mode="control", preprocess="blur(sigma=2)")]
    result = pipe("a cat", steps=2, seed=5, use=use)
    options = result.recipe["extensions"][0]["options"]
    again = pipe("a cat", steps=2, seed=5, use=[ControlNet(**options)])
    assert torch.equal(again.latents, result.latents)


def test_a_picture_in_memory_cannot_be_replayed_and_says_so(pipe, edges, picture):
    result = pipe("a cat", steps=1, use=[ControlNet(edges, picture)])
    with pytest.raises(RequestError, match="handed over in memory, so the recipe does not hold it"):
        ControlNet(**result.recipe["extensions"][0]["options"])
