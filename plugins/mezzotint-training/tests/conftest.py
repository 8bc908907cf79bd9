"""Pictures and models that take milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from mezzotint import Pipeline
from mezzotint.testing import save_tiny_model, tiny_pipeline
from PIL import Image


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def shared_pipe(tiny_model: Path) -> Pipeline:
    return tiny_pipeline(tiny_model)


@pytest.fixture
def pipe(shared_pipe: Pipeline) -> Iterator[Pipeline]:
    """One model for all tests, since opening it takes longer than most of them; its weights are put back."""
    models = (shared_pipe.unet, shared_pipe.vae, shared_pipe.text_encoder)
    before = [deepcopy(model.state_dict()) for model in models]
    yield shared_pipe
    for model, weights in zip(models, before, strict=True):
        model.load_state_dict(weights)
    shared_pipe.free()


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of random pictures with captions; sizes are (width, height)."""

    def make(*sizes: tuple[int, int], name: str = "pictures", captions: bool = True) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        random = np.random.default_rng(0)
        for number, (width, height) in enumerate(sizes or [(32, 32)] * 3):
            pixels = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
            if captions:
                (folder / f"{number}.txt").write_text(f"picture {number}, red, blue, green")
        return folder

    return make


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
