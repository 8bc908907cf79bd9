"""What is written is read by plain diffusers and peft, the text encoder's part as well, to the change that was meant."""

import copy

import pytest
import torch
from lora_oracle import predict
from mezzotint_lora import read_adapter, write_adapter
from mezzotint_lora.adapter import Adapter, Delta, Target
from mezzotint_lora.names import Names
from peft import PeftModel
from torch import nn

IDS = torch.arange(1, 9)[None]


@pytest.fixture
def changes(pipe):
    """LoRA on the attention of both models, of two ranks and three alphas; and both models with `W + up @ down · α/r`."""
    torch.manual_seed(0)
    deltas, models = {}, {}
    for component in ("unet", "text_encoder"):
        models[component] = copy.deepcopy(getattr(pipe, component))
        names = Names.of(models[component]).in_files
        for k, (name, layer) in enumerate(models[component].named_modules()):
            if isinstance(layer, nn.Linear) and "attn" in name:
                rank, alpha = 2 + k % 2, float(1 + k % 3)
                down, up = torch.randn(rank, layer.in_features) / 3, torch.randn(layer.out_features, rank) / 3
                deltas[Target(component, names[name])] = Delta("lora", {"down": down, "up": up}, alpha)
                layer.weight.data += up @ down * alpha / rank
    return Adapter(deltas), models


@torch.no_grad()
def embed(text_encoder):
    return text_encoder(IDS)[0]


def test_diffusers_loads_both_models(stock, changes, tmp_path):
    adapter, models = changes
    write_adapter(tmp_path / "a.safetensors", adapter, "diffusers")
    stock.load_lora_weights(tmp_path / "a.safetensors")
    assert torch.allclose(embed(stock.text_encoder), embed(models["text_encoder"]), atol=1e-5)
    assert torch.allclose(predict(stock.unet), predict(models["unet"]), atol=1e-5)


def test_peft_loads_each_model(stock, changes, tmp_path):
    adapter, models = changes
    write_adapter(tmp_path / "a", adapter, "peft")
    text_encoder = PeftModel.from_pretrained(stock.text_encoder, tmp_path / "a" / "text_encoder")
    unet = PeftModel.from_pretrained(stock.unet, tmp_path / "a" / "unet")
    assert torch.allclose(embed(text_encoder), embed(models["text_encoder"]), atol=1e-5)
    assert torch.allclose(predict(unet), predict(models["unet"]), atol=1e-5)


@pytest.mark.parametrize("layout", ["diffusers", "peft"])
def test_and_back_it_has_the_names_of_files(layout, changes, tmp_path):
    adapter, _ = changes
    path = tmp_path / ("a" if layout == "peft" else "a.safetensors")
    write_adapter(path, adapter, layout)
    assert read_adapter(path).deltas.keys() == adapter.deltas.keys()
