"""LoRA files written by hand in every layout, and the independent `W + up · down · α / r`."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

LINEAR = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
POINTWISE = "down_blocks.0.attentions.0.proj_in"
CONV3 = "down_blocks.0.resnets.0.conv1"
PLACES = {"linear": LINEAR, "1x1": POINTWISE, "3x3": CONV3}
OTHERS = {
    "linear": [
        "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    ],
    "1x1": ["mid_block.attentions.0.proj_out", "up_blocks.1.attentions.0.proj_in"],
    "3x3": ["conv_in", "down_blocks.0.downsamplers.0.conv"],
}
RANK = 4
ALPHAS = {"equal": (2.0, 2.0, 2.0), "mixed": (1.0, 4.0, 2.0), "missing": (None, None, None)}
SGM = {
    # Counted by hand for the tiny U-Net: one resnet a block, attention in the first block and the last.
    "mid_block.attentions.0": "middle_block_1",
    "down_blocks.0.attentions.0": "input_blocks_1_1",
    "down_blocks.0.resnets.0.conv1": "input_blocks_1_0_in_layers_2",
    "down_blocks.0.downsamplers.0.conv": "input_blocks_2_0_op",
    "up_blocks.1.attentions.0": "output_blocks_2_1",
    "conv_in": "input_blocks_0_0",
}


@dataclass(frozen=True)
class Low:
    """A low-rank change of one module, as a file would have it."""

    down: Tensor
    up: Tensor
    alpha: float | None

    @property
    def change(self) -> Tensor:
        """up · down · α / r by the definition, and by the convolution of the two kernels."""
        rank = self.down.shape[0]
        scale = (self.alpha or rank) / rank
        if self.down.ndim == 2:
            return self.up @ self.down * scale
        # kohya's own way to merge: conv2d(down.permute(1, 0, 2, 3), up).permute(1, 0, 2, 3)
        merged = torch.nn.functional.conv2d(self.down.permute(1, 0, 2, 3), self.up)
        return merged.permute(1, 0, 2, 3) * scale


def random_lows(
    unet: nn.Module, paths: list[str], alphas, seed: int = 0, dtype=torch.float32
) -> dict[str, Low]:
    """Changes of modules of a U-Net, one alpha each."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return (torch.randn(*shape, generator=generator) * 0.3).to(dtype)

    lows = {}
    for path, alpha in zip(paths, alphas, strict=True):
        weight = unet.get_submodule(path).weight
        ones = [1] * (weight.ndim - 2)
        lows[path] = Low(draw(RANK, *weight.shape[1:]), draw(weight.shape[0], RANK, *ones), alpha)
    return lows


def write_kohya(path: Path, lows: Mapping[str, Low], metadata=None, prefix="lora_unet_", spell=None) -> Path:
    tensors = {}
    for module, low in lows.items():
        stem = prefix + (spell(module) if spell else module.replace(".", "_"))
        tensors[f"{stem}.lora_down.weight"] = low.down
        tensors[f"{stem}.lora_up.weight"] = low.up
        if low.alpha is not None:
            tensors[f"{stem}.alpha"] = torch.tensor(low.alpha)
    save_file(tensors, path, metadata=metadata)
    return path


def write_sgm(path: Path, lows: Mapping[str, Low]) -> Path:
    def spell(module: str) -> str:
        head = next(known for known in SGM if module.startswith(known))
        return SGM[head] + module.removeprefix(head).replace(".", "_")

    return write_kohya(path, lows, spell=spell)


def configuration(lows: Mapping[str, Low]) -> dict[str, object]:
    alphas = {module: low.alpha or RANK for module, low in lows.items()}
    first = next(iter(alphas.values()))
    return {
        "peft_type": "LORA",
        "r": RANK,
        "lora_alpha": first,
        "target_modules": sorted(lows),
        "alpha_pattern": {module: alpha for module, alpha in alphas.items() if alpha != first},
    }


def write_diffusers(path: Path, lows: Mapping[str, Low], names=("lora.down", "lora.up")) -> Path:
    tensors = {}
    for module, low in lows.items():
        tensors[f"unet.{module}.{names[0]}.weight"] = low.down
        tensors[f"unet.{module}.{names[1]}.weight"] = low.up
    has_alpha = any(low.alpha is not None for low in lows.values())
    packed = {f"unet.{key}": value for key, value in configuration(lows).items()}
    save_file(tensors, path, metadata={"lora_adapter_metadata": json.dumps(packed)} if has_alpha else None)
    return path


def write_peft_names(path: Path, lows: Mapping[str, Low]) -> Path:
    return write_diffusers(path, lows, ("lora_A", "lora_B"))


def write_old_diffusers(path: Path, lows: Mapping[str, Low]) -> Path:
    """Attention processors: only attention layers had them, and alpha only where converters left it."""
    tensors = {}
    for module, low in lows.items():
        head, _, layer = module.removesuffix(".0").rpartition(".")
        stem = f"unet.{head}.processor.{layer}_lora"
        tensors[f"{stem}.down.weight"] = low.down
        tensors[f"{stem}.up.weight"] = low.up
        if low.alpha is not None:
            tensors[f"{stem}.alpha"] = torch.tensor(low.alpha)
    save_file(tensors, path)
    return path


def write_peft(path: Path, lows: Mapping[str, Low]) -> Path:
    path = path.with_suffix("")
    path.mkdir()
    tensors = {}
    for module, low in lows.items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = low.down
        tensors[f"base_model.model.{module}.lora_B.weight"] = low.up
    save_file(tensors, path / "adapter_model.safetensors")
    (path / "adapter_config.json").write_text(json.dumps(configuration(lows)))
    return path


LAYOUTS: dict[str, Callable[..., Path]] = {
    "kohya": write_kohya,
    "kohya-sgm": write_sgm,
    "diffusers": write_diffusers,
    "diffusers-peft-names": write_peft_names,
    "diffusers-old": write_old_diffusers,
    "peft": write_peft,
}


def predict(unet: nn.Module) -> Tensor:
    """What a U-Net makes of a fixed input."""
    generator = torch.Generator().manual_seed(5)
    sample = torch.randn(2, 4, 16, 16, generator=generator)
    text = torch.randn(2, 7, 32, generator=generator)
    parameter = next(unet.parameters())
    with torch.no_grad():
        return unet(sample.to(parameter), torch.tensor(500), text.to(parameter)).sample


def changed(unet: nn.Module, changes: Mapping[str, Tensor], weight: float = 1.0) -> Tensor:
    """The prediction of a copy of the U-Net whose weights are W + weight · ΔW."""
    other = copy.deepcopy(unet)
    with torch.no_grad():
        for path, change in changes.items():
            parameter = other.get_submodule(path).weight
            parameter.add_((weight * change).reshape(parameter.shape).to(parameter))
    return predict(other)


@contextmanager
def unchanged(model) -> Iterator[None]:
    """Whatever happens inside, the model comes out bit for bit as it went in."""
    from mezzotint.testing import fingerprint

    before = fingerprint(model)
    yield
    assert fingerprint(model).diff(before) == []
