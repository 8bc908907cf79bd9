"""Without extensions, latents and pictures are those of the stock diffusers pipeline, bit for bit."""

from __future__ import annotations

import diffusers
import pytest
import torch
from mezzotint.testing import tiny_pipeline

SCHEDULERS = [
    "DDIMScheduler",
    "DDPMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "PNDMScheduler",
    "HeunDiscreteScheduler",
    "LCMScheduler",
    "UniPCMultistepScheduler",
]
STEPS = 4
SEED = 11


@pytest.fixture(scope="module")
def pipes(model_folder):
    stock = diffusers.StableDiffusionPipeline.from_pretrained(model_folder, safety_checker=None)
    stock.set_progress_bar_config(disable=True)
    return tiny_pipeline(model_folder), stock


def run_both(
    pipes, scheduler=None, *, prompt="a cat", negative=None, n=1, guidance=7.5, size=(32, 32), steps=STEPS
):
    """Latents and pictures of both, from the same folder, seeds, guidance and steps."""
    pipe, stock = pipes
    config = pipe.scheduler.config
    cls = getattr(diffusers, scheduler) if scheduler else type(pipe.scheduler)
    stock.scheduler = cls.from_config(config)
    prompts = [prompt] if isinstance(prompt, str) else prompt

    def generators():
        return [torch.Generator("cpu").manual_seed(SEED + k) for k in range(n * len(prompts))]

    negatives = negative if negative is None or isinstance(prompt, str) else [negative] * len(prompts)
    options = {
        "prompt": prompt,
        "negative_prompt": negatives,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "num_images_per_prompt": n,
        "width": size[0],
        "height": size[1],
    }
    latents = stock(**options, generator=generators(), output_type="latent").images
    pictures = stock(**options, generator=generators(), output_type="pil").images
    result = pipe(
        prompt,
        negative=negative,
        steps=steps,
        guidance=guidance,
        seed=SEED,
        n=n,
        size=size,
        scheduler=cls.from_config(config) if scheduler else None,
    )
    return result, latents, pictures


@pytest.mark.parametrize("guidance", [1.0, 7.5])
@pytest.mark.parametrize("negative", [None, "ugly"])
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_latents_are_equal_bit_for_bit(pipes, scheduler, n, negative, guidance):
    result, latents, _ = run_both(pipes, scheduler, n=n, negative=negative, guidance=guidance)
    assert torch.equal(result.latents, latents)


def test_pictures_are_equal_pixel_for_pixel(pipes):
    result, _, pictures = run_both(pipes, n=2)
    assert [image.tobytes() for image in result.images] == [image.tobytes() for image in pictures]


def test_several_prompts_and_another_size(pipes):
    result, latents, _ = run_both(
        pipes, prompt=["a cat", "a dog on a chair"], negative="ugly", n=2, size=(48, 24)
    )
    assert torch.equal(result.latents, latents)


def test_the_models_own_scheduler_is_the_default(pipes):
    result, latents, _ = run_both(pipes)
    assert torch.equal(result.latents, latents)


def test_a_prompt_that_is_too_long_is_cut_like_diffusers_does_and_said(pipes, caplog):
    result, latents, _ = run_both(pipes, prompt="a very long prompt about cats and dogs")
    assert torch.equal(result.latents, latents)
    assert "cut off" in caplog.text
