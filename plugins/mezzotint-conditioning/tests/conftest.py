"""Tiny random models, and the files that go with them in the formats that are published."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tiny tensors: a second thread only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

TEXT_WIDTH = 32
IMAGE_WIDTH = 24
HIDDEN = 64


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mezzotint.testing import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def pipe(tiny_model: Path):
    from mezzotint.testing import tiny_pipeline

    return tiny_pipeline(tiny_model)


@pytest.fixture
def unchanged(pipe):
    """The pipeline is as it was, bit for bit, whatever the test did."""
    from mezzotint.testing import fingerprint

    before = fingerprint(pipe)
    yield
    assert fingerprint(pipe).diff(before) == []


@pytest.fixture(scope="session")
def adapters(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder like the published one: plain, plus and full adapters beside image_encoder."""
    from diffusers import UNet2DConditionModel
    from safetensors.torch import save_file
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    folder = tmp_path_factory.mktemp("adapters")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = CLIPVisionConfig(
            hidden_size=TEXT_WIDTH,
            intermediate_size=37,
            projection_dim=IMAGE_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=32,
            patch_size=8,
        )
        CLIPVisionModelWithProjection(config).save_pretrained(folder / "image_encoder")
        layers = layer_weights(UNet2DConditionModel.from_pretrained(tiny_model / "unet"))
        for name, projection in {"plain": plain(), "plus": plus(), "full": full()}.items():
            tensors = {f"image_proj.{key}": tensor for key, tensor in projection.items()} | layers
            save_file(
                {key: tensor.contiguous() for key, tensor in tensors.items()}, folder / f"{name}.safetensors"
            )
    return folder


def layer_weights(unet) -> dict[str, torch.Tensor]:
    tensors = {}
    for number, name in enumerate(unet.attn_processors):
        path = name.removesuffix(".processor")
        if path.endswith("attn2"):
            width = unet.get_submodule(path).to_k.out_features
            for part in "kv":
                tensors[f"ip_adapter.{number}.to_{part}_ip.weight"] = torch.randn(width, TEXT_WIDTH)
    return tensors


def plain() -> dict[str, torch.Tensor]:
    return {
        "proj.weight": torch.randn(4 * TEXT_WIDTH, IMAGE_WIDTH),
        "proj.bias": torch.randn(4 * TEXT_WIDTH),
        "norm.weight": torch.randn(TEXT_WIDTH),
        "norm.bias": torch.randn(TEXT_WIDTH),
    }


def full() -> dict[str, torch.Tensor]:
    return {
        "proj.0.weight": torch.randn(TEXT_WIDTH, TEXT_WIDTH),
        "proj.0.bias": torch.randn(TEXT_WIDTH),
        "proj.2.weight": torch.randn(TEXT_WIDTH, TEXT_WIDTH),
        "proj.2.bias": torch.randn(TEXT_WIDTH),
        "proj.3.weight": torch.randn(TEXT_WIDTH),
        "proj.3.bias": torch.randn(TEXT_WIDTH),
    }


def plus(depth: int = 4) -> dict[str, torch.Tensor]:
    tensors = {
        "latents": torch.randn(1, 5, HIDDEN) / 8,
        "proj_in.weight": torch.randn(HIDDEN, TEXT_WIDTH),
        "proj_in.bias": torch.randn(HIDDEN),
        "proj_out.weight": torch.randn(TEXT_WIDTH, HIDDEN),
        "proj_out.bias": torch.randn(TEXT_WIDTH),
        "norm_out.weight": torch.randn(TEXT_WIDTH),
        "norm_out.bias": torch.randn(TEXT_WIDTH),
    }
    for i in range(depth):
        for norm in ("norm1", "norm2"):
            tensors[f"layers.{i}.0.{norm}.weight"] = torch.randn(HIDDEN)
            tensors[f"layers.{i}.0.{norm}.bias"] = torch.randn(HIDDEN)
        tensors[f"layers.{i}.0.to_q.weight"] = torch.randn(HIDDEN, HIDDEN) / 8
        tensors[f"layers.{i}.0.to_kv.weight"] = torch.randn(2 * HIDDEN, HIDDEN) / 8
        tensors[f"layers.{i}.0.to_out.weight"] = torch.randn(HIDDEN, HIDDEN) / 8
        tensors[f"layers.{i}.1.0.weight"] = torch.randn(HIDDEN)
        tensors[f"layers.{i}.1.0.bias"] = torch.randn(HIDDEN)
        tensors[f"layers.{i}.1.1.weight"] = torch.randn(4 * HIDDEN, HIDDEN) / 8
        tensors[f"layers.{i}.1.3.weight"] = torch.randn(HIDDEN, 4 * HIDDEN) / 16
    return tensors
