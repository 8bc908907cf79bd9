"""Inpainting beside diffusers' own pipeline, with ordinary models and those made for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mezzotint.errors import RequestError
from mezzotint_image import Inpaint
from PIL import Image
from start_pictures import SEED, generators, half_mask, noise_picture


@pytest.mark.parametrize("kind", ["ordinary", "inpainting"])
@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize(
    "scheduler",
    [
        "DDIMScheduler",
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "HeunDiscreteScheduler",
        "DPMSolverMultistepScheduler",
    ],
)
def test_latents_are_those_of_diffusers(shared_pipes, stock, kind, strength, scheduler):
    pictures, masks = [noise_picture(1), noise_picture(2)], [half_mask()] * 2
    expected = stock("StableDiffusionInpaintPipeline", kind, scheduler)(
        "a cat",
        num_images_per_prompt=2,
        image=pictures,
        mask_image=masks,
        width=32,
        height=32,
        strength=strength,
        num_inference_steps=6,
        guidance_scale=5.0,
        generator=generators(2),
        output_type="latent",
    ).images
    result = shared_pipes[kind](
        "a cat",
        n=2,
        seed=SEED,
        steps=6,
        guidance=5.0,
        scheduler=f"diffusers:{scheduler}",
        use=[Inpaint(pictures, mask=masks, strength=strength)],
    )
    assert torch.equal(result.latents, expected)


@pytest.mark.parametrize("kind", ["ordinary", "inpainting"])
def test_what_the_mask_leaves_out_keeps_its_pixels(shared_pipes, kind):
    picture = noise_picture(3)
    result = shared_pipes[kind]("a cat", seed=SEED, steps=3, use=[Inpaint(picture, mask=half_mask())])
    before, after = np.asarray(picture), np.asarray(result.images[0])
    assert (after[:, :16] == before[:, :16]).all()
    assert (after[:, 16:] != before[:, 16:]).any()


def test_a_feathered_edge_mixes_both(pipe):
    picture = Image.new("RGB", (32, 32), "white")
    hard, soft = (
        np.asarray(pipe("a cat", seed=SEED, steps=3, use=[use]).images[0], int)
        for use in (
            Inpaint(picture, mask=half_mask()),
            Inpaint(picture, mask=half_mask(), feather=2.0),
        )
    )
    assert (hard[:, :16] == 255).all()
    assert (soft[:, 14] != 255).any()
    assert (soft[:, :4] == 255).all()


def test_without_keeping_pixels_the_decoder_says_what_they_are(pipe):
    use = Inpaint(noise_picture(3), mask=half_mask(), keep_pixels=False)
    result = pipe("a cat", seed=SEED, steps=3, use=[use])
    assert (np.asarray(result.images[0])[:, :16] != np.asarray(noise_picture(3))[:, :16]).any()


@pytest.mark.parametrize("kind", ["ordinary", "inpainting"])
def test_a_native_solver_inpaints_too(shared_pipes, stock, kind):
    import mezzotint

    pipe = shared_pipes[kind]
    plain = stock("StableDiffusionInpaintPipeline", kind)
    plain.scheduler = mezzotint.scheduler("heun", spacing="karras", like=pipe.scheduler)
    picture, mask = noise_picture(4), half_mask()
    expected = plain(
        "a cat",
        image=picture,
        mask_image=mask,
        width=32,
        height=32,
        strength=0.7,
        num_inference_steps=6,
        guidance_scale=5.0,
        generator=generators(1),
        output_type="latent",
    ).images
    result = pipe(
        "a cat",
        seed=SEED,
        steps=6,
        guidance=5.0,
        scheduler="heun",
        spacing="karras",
        use=[Inpaint(picture, mask=mask, strength=0.7)],
    )
    assert torch.equal(result.latents, expected)


def test_transparent_parts_of_a_mask_stay(pipe):
    mask = Image.new("RGBA", (32, 32), (255, 255, 255, 0))
    picture = noise_picture(3)
    result = pipe("a cat", seed=SEED, steps=2, use=[Inpaint(picture, mask=mask)])
    assert (np.asarray(result.images[0]) == np.asarray(picture)).all()


def test_a_model_made_for_inpainting_says_so_without_it(shared_pipes):
    with pytest.raises(RequestError, match="takes 9 input channels and got 4"):
        shared_pipes["inpainting"]("a cat", steps=2)


def test_masks_of_another_number_are_refused(pipe):
    with pytest.raises(RequestError, match="inpaint: mask: 3 pictures for a run of 2 images"):
        pipe("a cat", n=2, steps=2, use=[Inpaint(noise_picture(1), mask=[half_mask()] * 3)])


def test_a_mask_of_another_shape_is_stretched_to_its_picture(pipe):
    wide, mask = noise_picture(4, (96, 32)), Image.new("L", (32, 32), "black")
    mask.paste("white", (0, 0, 8, 32))
    # It covers a quarter of the picture, which the crop to the middle third leaves out.
    image = pipe("a cat", seed=SEED, steps=2, use=[Inpaint(wide, mask)]).images[0]
    assert image.tobytes() == wide.crop((32, 0, 64, 32)).tobytes()


def test_a_mask_without_white_is_said(pipe, caplog):
    pipe("a cat", steps=1, use=[Inpaint(noise_picture(4), Image.new("L", (32, 32), "black"))])
    assert "nothing in the mask is white" in caplog.text
    caplog.clear()
    pipe("a cat", steps=1, use=[Inpaint(noise_picture(4), half_mask())])
    assert not caplog.text
