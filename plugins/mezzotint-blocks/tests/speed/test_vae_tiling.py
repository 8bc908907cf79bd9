"""The autoencoder in tiles, beside diffusers' own switch."""

from __future__ import annotations

import pytest
import torch
from mezzotint.testing import fingerprint, save_tiny_pixel_model, tiny_pipeline
from mezzotint_blocks import VaeTiling

RUN = {"steps": 1, "seed": 1, "size": (64, 64)}


def test_tiles_are_those_of_diffusers_and_the_switches_are_set_back(pipe):
    before = fingerprint(pipe)
    plain = pipe("a", **RUN)
    tiled = pipe("a", use=[VaeTiling(tile=32)], **RUN)
    assert torch.equal(tiled.latents, plain.latents)
    pipe.vae.enable_tiling()
    kept = pipe.vae.tile_sample_min_size, pipe.vae.tile_latent_min_size
    pipe.vae.tile_sample_min_size, pipe.vae.tile_latent_min_size = 32, 32 // pipe.vae_scale_factor
    try:
        expected = pipe.decode(plain.latents)
    finally:
        pipe.vae.disable_tiling()
        pipe.vae.tile_sample_min_size, pipe.vae.tile_latent_min_size = kept
    assert tiled.images[0].tobytes() == expected[0].tobytes() != plain.images[0].tobytes()
    assert fingerprint(pipe) == before


def test_a_picture_no_larger_than_a_tile_is_whole(pipe):
    use = [VaeTiling(tile=64, one_by_one=False)]
    assert pipe("a", use=use, **RUN).images[0].tobytes() == pipe("a", **RUN).images[0].tobytes()


def test_the_switches_are_set_back_after_an_error(pipe):
    def fail():
        with pipe.using(VaeTiling(tile=32)):
            assert pipe.vae.use_tiling
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not pipe.vae.use_tiling


def test_a_model_of_pixels_has_nothing_to_tile(tmp_path):
    pixels = tiny_pipeline(save_tiny_pixel_model(tmp_path / "model"))
    plain = pixels("a", steps=1, seed=1).images[0]
    assert pixels("a", steps=1, seed=1, use=[VaeTiling()]).images[0].tobytes() == plain.tobytes()
