"""Random networks for a tiny U-Net, and runs of diffusers' own pipelines."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import torch
from mezzotint import Extension, Pipeline, hookimpl
from PIL import Image

HINT = (4, 8)
"""Channels of the tiny networks' picture embedding: it halves the picture once, as the tiny VAE does."""
STEPS, GUIDANCE, SEED = 3, 5.0, 3


def randomise(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Fill the zero convolutions, so that a new network has an effect."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        if not parameter.any():
            parameter.data.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def noise_picture(seed: int = 0, size: tuple[int, int] = (32, 32)) -> Image.Image:
    """(width, height) of random colours."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def stock_parts(pipe: Pipeline) -> dict[str, Any]:
    """What a pipeline class of diffusers for Stable Diffusion is made from."""
    return {
        "vae": pipe.vae,
        "text_encoder": pipe.text_encoder,
        "tokenizer": pipe.tokenizer,
        "unet": pipe.unet,
        "scheduler": copy.deepcopy(pipe.scheduler),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def run_stock(stock: Any, prompt: Any, n: int = 1, **options: Any) -> torch.Tensor:
    """Final latents of a pipeline of diffusers, with the noise that mezzotint takes."""
    stock.set_progress_bar_config(disable=True)
    count = n * (len(prompt) if isinstance(prompt, list) else 1)
    options = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, **options}
    return stock(
        prompt,
        num_images_per_prompt=n,
        generator=[torch.Generator("cpu").manual_seed(SEED + k) for k in range(count)],
        output_type="latent",
        **options,
    ).images


class Spy(Extension, name="spy"):
    """See one step: what the U-Net gets, and what an extension of the same run answers to it."""

    target: Any

    @hookimpl
    def unet_residuals(self, sample: Any, timestep: Any, conditioning: Any, run: Any) -> None:
        seen = run.state(self, dict)
        seen.update(sample=sample, timestep=timestep, conditioning=conditioning, step=run.step.index)
        given = {"sample": sample, "timestep": timestep, "conditioning": conditioning, "run": run}
        asked = inspect.signature(self.target.unet_residuals).parameters
        seen["residuals"] = self.target.unet_residuals(**{name: given[name] for name in asked})
        run.publish(self, **seen)


def see(pipe: Pipeline, target: Extension, *others: Extension, **options: Any) -> dict[str, Any]:
    """The last step of a run with an extension: `sample`, `timestep`, `conditioning`, `residuals`."""
    options = {"steps": 1, "guidance": GUIDANCE, "seed": SEED, **options}
    spy = Spy(target)
    return pipe("a cat", use=[target, *others, spy], **options).outputs["spy"]
