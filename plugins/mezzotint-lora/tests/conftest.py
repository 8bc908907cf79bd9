"""A tiny pipeline with this plugin alone."""

from __future__ import annotations

from pathlib import Path

import mezzotint_lora
import pytest
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
