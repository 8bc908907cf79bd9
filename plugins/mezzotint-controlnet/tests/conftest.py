"""A tiny model, tiny networks beside it, and diffusers' own pipelines over the same modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mezzotint_controlnet
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from mezzotint import Pipeline
from mezzotint.testing import fingerprint, tiny_pipeline
from PIL import Image
from tiny_networks import GUIDANCE, HINT, SEED, STEPS, noise_picture, randomise, run_stock, stock_parts


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny") / "model"


@pytest.fixture(scope="session")
def shared_pipe(tiny_folder: Path) -> Pipeline:
    return tiny_pipeline(tiny_folder, plugins=[mezzotint_controlnet])


@pytest.fixture
def pipe(shared_pipe: Pipeline) -> Iterator[Pipeline]:
    """The tiny pipeline; whatever a test does with it, it is the same afterwards."""
    before = fingerprint(shared_pipe)
    yield shared_pipe
    assert fingerprint(shared_pipe) == before


@pytest.fixture(scope="session")
def make_controlnet(shared_pipe: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A folder with a random ControlNet of the tiny U-Net; `zero=True` leaves it as it is before training."""

    def make(seed: int = 0, zero: bool = False, **changes: Any) -> Path:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = ControlNetModel.from_unet(shared_pipe.unet, conditioning_embedding_out_channels=HINT)
            if changes:
                network = ControlNetModel.from_config({**network.config, **changes})
        folder = tmp_path_factory.mktemp("controlnet")
        (network if zero else randomise(network, seed)).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def edges(make_controlnet: Callable[..., Path]) -> Path:
    return make_controlnet(1)


@pytest.fixture(scope="session")
def depth(make_controlnet: Callable[..., Path]) -> Path:
    return make_controlnet(2)


@pytest.fixture
def picture() -> Image.Image:
    return noise_picture()


@pytest.fixture
def latents(pipe: Pipeline) -> Callable[..., torch.Tensor]:
    """Latents of a short run with some extensions."""

    def run(*use: Any, prompt: Any = "a cat", **options: Any) -> torch.Tensor:
        options = {"steps": STEPS, "guidance": GUIDANCE, "seed": SEED, **options}
        return pipe(prompt, use=list(use), **options).latents

    return run


@pytest.fixture
def reference(pipe: Pipeline) -> Callable[..., torch.Tensor]:
    """The same from diffusers' own ControlNet pipeline over the same modules."""

    def run(controlnet: Any, image: Any, prompt: Any = "a cat", n: int = 1, **options: Any) -> torch.Tensor:
        folders = controlnet if isinstance(controlnet, list) else [controlnet]
        nets = [ControlNetModel.from_pretrained(folder) for folder in folders]
        stock = StableDiffusionControlNetPipeline(
            controlnet=nets if isinstance(controlnet, list) else nets[0], **stock_parts(pipe)
        )
        return run_stock(stock, prompt, n, image=image, **options)

    return run
