"""Tiny random models for the tests of caches and speed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tiny tensors: a second thread only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from speed_stand_ins import RUN


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers a block, so that the arithmetic of the DeepCache package (three layers a block) is right."""
    from mezzotint.testing import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny", layers_per_block=2)


@pytest.fixture
def pipe(model_folder):
    from mezzotint.testing import tiny_pipeline

    return tiny_pipeline(model_folder)


@pytest.fixture
def stock(model_folder):
    """diffusers' own pipeline of the same model, as a function to latents."""
    import diffusers

    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(model_folder, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def stock_latents():
    """Latents of a diffusers pipeline with the arguments of RUN."""

    def latents(pipeline, prompt="a cat", **options):
        generators = [torch.Generator("cpu").manual_seed(RUN["seed"] + k) for k in range(RUN["n"])]
        return pipeline(
            prompt,
            num_inference_steps=RUN["steps"],
            guidance_scale=RUN["guidance"],
            num_images_per_prompt=RUN["n"],
            generator=generators,
            output_type="latent",
            **options,
        ).images

    return latents


@pytest.fixture
def controlnet(pipe):
    """A random ControlNet for the model, without its zero convolutions, so that it does something."""
    from diffusers import ControlNetModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(4, 8)).eval()
        for name, parameter in net.named_parameters():
            if "controlnet" in name:
                parameter.data.normal_(std=0.1)
    return net


@pytest.fixture
def count_calls(monkeypatch):
    """How often a module's own forward runs, below whatever is put around it: `count_calls(module)()`."""

    def count(module):
        calls, forward = [], module.forward
        monkeypatch.setattr(
            module, "forward", lambda *args, **kwargs: calls.append(args) or forward(*args, **kwargs)
        )
        return lambda: len(calls)

    return count
