"""One tiny random model for the session, and pipelines over it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tiny tensors: a second thread only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mezzotint.testing import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def pipe(tiny_model: Path):
    from mezzotint.testing import tiny_pipeline

    return tiny_pipeline(tiny_model)
