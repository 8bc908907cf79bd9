"""A tiny pipeline with this plugin alone."""

from __future__ import annotations

import copy
import logging
from pathlib import Path

import mezzotint_lora
import pytest
from diffusers import StableDiffusionPipeline
from mezzotint.testing import tiny_pipeline


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="session")
def shared_pipe(folder):
    return tiny_pipeline(folder, plugins=[mezzotint_lora])


@pytest.fixture
def pipe(shared_pipe):
    """One pipeline for all tests: each must leave it as it was."""
    yield shared_pipe
    shared_pipe.free()


@pytest.fixture
def stock(pipe):
    """diffusers' pipeline over copies of the same models."""
    logging.getLogger("diffusers").setLevel(logging.CRITICAL)
    return StableDiffusionPipeline(
        copy.deepcopy(pipe.vae),
        copy.deepcopy(pipe.text_encoder),
        pipe.tokenizer,
        copy.deepcopy(pipe.unet),
        copy.deepcopy(pipe.scheduler),
        None,
        None,
        requires_safety_checker=False,
    )
