"""A tiny random model, opened by mezzotint and by diffusers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tiny tensors: a second thread only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", params=["epsilon", "v_prediction"])
def model_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mezzotint.testing import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("models") / request.param, prediction_type=request.param)
