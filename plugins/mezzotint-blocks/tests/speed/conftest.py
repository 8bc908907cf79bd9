"""Tiny random models for the tests of caches and speed, and stand-ins for LoRA and ControlNet."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tiny tensors: a second thread only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from mezzotint import Extension, Residuals, hookimpl

RUN = {"seed": 3, "steps": 6, "guidance": 5.0, "n": 2}


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


class Weights(Extension, name="lora"):
    """What LoRA does to a weight, under its name, so that order is that of the real one."""

    amount: float = 0.5

    @hookimpl
    @contextmanager
    def patch_unet(self, unet):
        weights = [p for name, p in unet.named_parameters() if name.endswith(("to_k.weight", "to_v.weight"))]
        before = [weight.detach().clone() for weight in weights]
        for weight in weights:
            weight.mul_(1 + self.amount)
        try:
            yield
        finally:
            for weight, value in zip(weights, before, strict=True):
                weight.copy_(value)


class Control(Extension, name="controlnet"):
    """A ControlNet over a fixed picture."""

    model: object

    @hookimpl
    def unet_residuals(self, sample, timestep, conditioning):
        condition = picture().expand(len(sample), -1, -1, -1)
        down, mid = self.model(
            sample,
            timestep,
            encoder_hidden_states=conditioning.embeddings,
            controlnet_cond=condition,
            return_dict=False,
        )
        return Residuals(down=tuple(down), mid=mid)


def picture() -> torch.Tensor:
    """The condition, (1, 3, 32, 32)."""
    return torch.linspace(0, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)


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
