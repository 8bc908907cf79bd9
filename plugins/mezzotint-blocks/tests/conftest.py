"""Tiny random models, and the calls of the U-Net counted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tiny tensors: a second thread only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Attention at every stage, as in Stable Diffusion, and a prompt's worth of letters."""
    from mezzotint.testing import save_tiny_model

    return save_tiny_model(
        tmp_path_factory.mktemp("models") / "tiny",
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    )


@pytest.fixture(scope="module")
def pipe(tiny_model: Path):
    from mezzotint.testing import tiny_pipeline

    return tiny_pipeline(tiny_model)


@pytest.fixture
def stock(tiny_model: Path) -> Callable[..., Any]:
    """A pipeline class of diffusers over the same model: `stock(StableDiffusionPipeline)`."""

    def make(pipeline_class: type) -> Any:
        made = pipeline_class.from_pretrained(
            tiny_model, safety_checker=None, requires_safety_checker=False, feature_extractor=None
        )
        made.set_progress_bar_config(disable=True)
        return made

    return make


@pytest.fixture
def count_calls() -> Callable[..., Any]:
    """`with count_calls(unet) as rows:` rows of each call of the U-Net."""

    @contextmanager
    def counting(unet: Any) -> Iterator[list[int]]:
        rows: list[int] = []
        handle = unet.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
        try:
            yield rows
        finally:
            handle.remove()

    return counting
