import pytest
import torch
from mezzotint_emoji.recipe.encoder import (
    LATENT_CHANNELS,
    fit_encoder,
    load_encoder,
    read_encoder,
    save_encoder,
)
from mezzotint_emoji.recipe.networks import make_vae


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Smooth noise, so that the principal components are coarse, as those of pictures are."""
    noise = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(noise, scale_factor=4, mode="bilinear").clamp(-1, 1)


def test_latents_are_centred_and_of_unit_mean_square(images):
    latents = fit_encoder(images)(images)
    assert latents.shape == (64, LATENT_CHANNELS, 8, 8)
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert latents.square().mean().item() == pytest.approx(1, abs=1e-3)


def test_channels_are_ordered_and_partly_whitened(images):
    spread = fit_encoder(images)(images).std(dim=(0, 2, 3))
    assert (spread.diff() < 1e-4).all()
    kernel = fit_encoder(images).kernel.flatten(1)
    gram = kernel @ kernel.T
    assert (gram - gram.diag().diag()).abs().max() < 1e-4  # orthogonal components
    assert torch.allclose(spread * kernel.norm(dim=1), (spread * kernel.norm(dim=1))[:1], rtol=1e-3)


@torch.no_grad()
def test_the_vae_of_diffusers_encodes_as_the_transform_does(images):
    encoder = fit_encoder(images)
    posterior = make_vae(encoder).encode(images).latent_dist
    assert torch.allclose(posterior.mode(), encoder(images), atol=0.01, rtol=0.002)
    assert torch.allclose(posterior.sample(), posterior.mode(), atol=1e-5)


def test_saved_and_loaded_is_the_same(images, tmp_path):
    encoder = fit_encoder(images)
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    assert torch.equal(load_encoder(tmp_path / "encoder.safetensors")(images), encoder(images))


def test_read_back_from_a_vae_it_is_the_same(images):
    encoder = fit_encoder(images)
    assert torch.equal(read_encoder(make_vae(encoder))(images), encoder(images))
