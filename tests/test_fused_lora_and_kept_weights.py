"""What accelerators keep of the weights, under LoRAs that are fused one after the other."""

from __future__ import annotations

from pathlib import Path

import mezzotint_blocks
import mezzotint_lora
import mezzotint_openvino
import pytest
import torch
from mezzotint.testing import tiny_pipeline
from mezzotint_blocks import ChannelsLast, Fast, FusedQKV, PackedWeights, RecordedUNet, TextKV
from mezzotint_lora import LoRA
from mezzotint_openvino import OpenVINO
from safetensors.torch import save_file

WEIGHTS = (0.2, 0.9, -0.5, 0.4, 0.2, 0.9, -0.5, 0.7)
RUN = {"steps": 2, "seed": 3, "guidance": 5.0}


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    plugins = [mezzotint_lora, mezzotint_blocks, mezzotint_openvino]
    return tiny_pipeline(tmp_path_factory.mktemp("tiny") / "model", plugins=plugins)


@pytest.fixture(scope="module")
def file(pipe, tmp_path_factory) -> Path:
    torch.manual_seed(0)
    tensors = {}
    for path, module in pipe.unet.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and "_blocks" in path:
            key = f"lora_unet_{path.replace('.', '_')}"
            out, into, *kernel = module.weight.shape
            tensors[f"{key}.lora_down.weight"] = 0.1 * torch.randn(2, into, *kernel)
            tensors[f"{key}.lora_up.weight"] = 0.1 * torch.randn(out, 2, *[1 for _ in kernel])
    path = tmp_path_factory.mktemp("files") / "lora.safetensors"
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize(
    "keeper",
    [PackedWeights(), FusedQKV(), TextKV(), RecordedUNet(), ChannelsLast(), Fast(exact=True), OpenVINO()],
    ids=lambda keeper: keeper.extension_name,
)
def test_every_strength_is_its_own(pipe, file, keeper, fuse):
    """Merged weights are freed after each run, and new ones often lie where they lay."""
    if isinstance(keeper, OpenVINO):
        pytest.importorskip("openvino")
    for weight in WEIGHTS[: 2 if isinstance(keeper, OpenVINO) else None]:
        lora = LoRA(file, weight, fuse=fuse)
        expected = pipe("a cat", use=[lora], **RUN).latents
        found = pipe("a cat", use=[lora, keeper], **RUN).latents
        assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max())), weight
