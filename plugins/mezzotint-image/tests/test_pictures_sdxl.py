"""Both extensions with Stable Diffusion XL, beside diffusers' own pipelines."""

from __future__ import annotations

import diffusers
import mezzotint_image
import pytest
import torch
from mezzotint.testing import save_tiny_xl_model, tiny_pipeline
from mezzotint_image import ImageToImage, Inpaint
from start_pictures import SEED, generators, half_mask, noise_picture

ASKED = {"num_inference_steps": 5, "guidance_scale": 7.5, "output_type": "latent"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("xl")
    return {channels: save_tiny_xl_model(root / str(channels), in_channels=channels) for channels in (4, 9)}


def stock_of(name, folder):
    pipe = getattr(diffusers, name).from_pretrained(folder, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("scheduler", ["EulerDiscreteScheduler", "DDIMScheduler"])
@pytest.mark.parametrize("negative", [None, "ugly"])
def test_image_to_image(folders, scheduler, negative):
    pipe = tiny_pipeline(folders[4], plugins=[mezzotint_image])
    pictures = [noise_picture(1), noise_picture(2)]
    stock = stock_of("StableDiffusionXLImg2ImgPipeline", folders[4])
    stock.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config)
    expected = stock(
        "a cat",
        image=pictures,
        strength=0.6,
        negative_prompt=negative,
        num_images_per_prompt=2,
        generator=generators(2),
        **ASKED,
    ).images
    result = pipe(
        "a cat",
        negative=negative,
        n=2,
        seed=SEED,
        steps=5,
        guidance=7.5,
        scheduler=type(stock.scheduler).from_config(pipe.scheduler.config),
        use=[ImageToImage(pictures, strength=0.6)],
    )
    assert torch.equal(result.latents, expected)


@pytest.mark.parametrize("strength", [0.6, 1.0])
@pytest.mark.parametrize("channels", [4, 9])
def test_inpainting(folders, channels, strength):
    pipe = tiny_pipeline(folders[channels], plugins=[mezzotint_image])
    pictures, masks = [noise_picture(1), noise_picture(2)], [half_mask()] * 2
    expected = stock_of("StableDiffusionXLInpaintPipeline", folders[channels])(
        "a cat",
        image=pictures,
        mask_image=masks,
        width=32,
        height=32,
        strength=strength,
        num_images_per_prompt=2,
        generator=generators(2),
        **ASKED,
    ).images
    use = [Inpaint(pictures, masks, strength=strength)]
    result = pipe("a cat", n=2, seed=SEED, steps=5, guidance=7.5, use=use)
    assert torch.equal(result.latents, expected)
