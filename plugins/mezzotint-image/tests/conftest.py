"""Tiny models, ordinary and made for inpainting, with diffusers' own pipelines over the same folders."""

from __future__ import annotations

from functools import cache

import diffusers
import mezzotint_image
import mezzotint_schedulers
import pytest
from mezzotint.testing import fingerprint, save_tiny_model, tiny_pipeline


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {
        "ordinary": save_tiny_model(root / "ordinary"),
        "inpainting": save_tiny_model(root / "inpainting", in_channels=9),
    }


@pytest.fixture(scope="session")
def shared_pipes(folders):
    plugins = [mezzotint_image, mezzotint_schedulers]
    return {kind: tiny_pipeline(folder, plugins=plugins) for kind, folder in folders.items()}


@pytest.fixture
def pipe(shared_pipes):
    """The ordinary one; whatever a test does with it, it is the same afterwards."""
    before = fingerprint(shared_pipes["ordinary"])
    yield shared_pipes["ordinary"]
    assert fingerprint(shared_pipes["ordinary"]) == before


@pytest.fixture(scope="session")
def stock(folders):
    """diffusers' pipeline of a class over a folder, with a scheduler: the model's own, or of a class."""

    @cache
    def opened(name, kind):
        parts = diffusers.StableDiffusionPipeline.from_pretrained(folders[kind]).components
        pipe = getattr(diffusers, name)(**parts, requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        return pipe, dict(pipe.scheduler.config)

    def make(name, kind="ordinary", scheduler="DDIMScheduler"):
        pipe, config = opened(name, kind)
        pipe.scheduler = getattr(diffusers, scheduler).from_config(dict(config))
        return pipe

    return make
