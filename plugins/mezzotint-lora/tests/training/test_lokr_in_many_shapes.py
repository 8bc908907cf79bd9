"""LoKr by chance: LyCORIS's modules as we read them, and peft's layers as we export them, in every form that they take."""

from __future__ import annotations

import logging
from contextlib import redirect_stdout
from io import StringIO
from random import Random

import pytest
import torch
from mezzotint_lora.adapter import Delta
from mezzotint_lora.deltas import delta_weight
from mezzotint_lora.formats import kohya
from mezzotint_lora.training.deltas import deltas_of
from mezzotint_lora.training.injecting import injected
from mezzotint_lora.training.settings import LoRASettings
from torch import nn

with redirect_stdout(StringIO()):
    from lycoris.modules.lokr import LokrModule

WIDTHS = (4, 5, 6, 8, 12, 24, 30, 32)


def layer(random: Random) -> nn.Module:
    width, out = random.choice(WIDTHS), random.choice(WIDTHS)
    made = random.choice(
        [
            lambda: nn.Linear(width, out),
            lambda: nn.Conv2d(width, out, 1),
            lambda: nn.Conv2d(width, out, 3),
            lambda: nn.Conv2d(2 * width, 2 * out, 3, groups=2),
        ]
    )()
    channels_last = random.random() < 0.3 and isinstance(made, nn.Conv2d)
    return made.to(memory_format=torch.channels_last) if channels_last else made


@torch.no_grad()
def lycoris(random: Random, base: nn.Module, **options) -> LokrModule:
    chances = {
        name: random.random() < 0.4 for name in ("use_tucker", "use_scalar", "decompose_both", "rs_lora")
    }
    chances |= {
        name: random.random() < 0.25
        for name in ("unbalanced_factorization", "weight_decompose", "full_matrix")
    }
    numbers = {"lora_dim": (1, 2, 3, 8, 20), "alpha": (0, None, 0.5, 3, 16), "factor": (-1, 1, 2, 4, 8)}
    chosen = {name: random.choice(values) for name, values in numbers.items()}
    chosen |= {"wd_on_out": random.random() < 0.5, "rank_dropout": random.choice((0, 0.5))}
    with redirect_stdout(StringIO()):
        module = LokrModule("x", base, **{**chances, **chosen, **options}).eval()
    for parameter in module.parameters():
        parameter.copy_(torch.rand(parameter.shape) - 0.3)
    return module


def read(module: LokrModule) -> Delta:
    saved = {f"lora_unet_x.{name}": tensor.detach().clone() for name, tensor in module.state_dict().items()}
    deltas, unread = kohya.LAYOUT.parse(saved)
    assert not unread
    return next(iter(deltas.values()))


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.WARNING)  # LyCORIS says each time that a factor is whole.
    yield
    logging.disable(logging.NOTSET)


def test_what_lycoris_saves_is_read_as_lycoris_computes_it():
    seen = set()
    for seed in range(80):
        torch.manual_seed(seed)
        base = layer(Random(seed))
        module = lycoris(Random(seed), base)
        if module.use_w1 and module.use_w2 and module.rs_lora:
            continue  # See below.
        weight = base.weight.detach()
        change = (module.get_weight(module.shape) * module.scalar).detach()
        expected = module.apply_weight_decompose(weight + change, 1) - weight if module.wd else change
        assert torch.allclose(delta_weight(read(module), weight), expected, atol=1e-6, rtol=1e-5), seed
        seen.add((module.module_type, module.tucker, module.use_w1, module.use_w2))
    assert len(seen) > 8


def test_two_whole_factors_with_rslora_are_read_as_lycoris_itself_reads_them():
    """LyCORIS trains them with a factor sqrt(rank) that no reader can find in its file, its own included."""
    torch.manual_seed(0)
    base = nn.Linear(8, 8)
    module = lycoris(Random(0), base, full_matrix=True, rs_lora=True, weight_decompose=False, lora_dim=4)
    delta = read(module)
    tensors = [delta.tensors.get(name) for name in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t1", "t2")]
    with torch.no_grad(), redirect_stdout(StringIO()):
        again = LokrModule.make_module_from_state_dict("x", base, *tensors, delta.alpha, None)
        expected = again.get_weight(again.shape)
        assert torch.allclose(delta_weight(delta, base.weight), expected, atol=1e-6)
        assert torch.allclose(module.get_weight(module.shape) * module.scalar, 2 * expected, atol=1e-6)


def test_what_is_trained_in_peft_is_exported_as_it_acts():
    for seed in range(40):
        torch.manual_seed(seed)
        random = Random(seed)
        model = nn.ModuleDict({"attentions": nn.ModuleDict({"to_q": layer(random)})})
        base = model["attentions"]["to_q"]
        settings = LoRASettings(
            kind="lokr",
            targets="all",
            rank=random.choice((1, 2, 3, 8, 20)),
            alpha=random.choice((None, 0.5, 3.0)),
            factor=random.choice((-1, 2, 4, 8)),
            dropout=random.choice((0.0, 0.5)),
        )
        with injected(model, settings, "unet") as parts, torch.no_grad():
            for parameter in parts.parameters():
                parameter.copy_(torch.rand(parameter.shape) - 0.3)
            trained = model["attentions"]["to_q"].eval()
            size = (2, base.in_features) if isinstance(base, nn.Linear) else (2, base.in_channels, 5, 5)
            inputs = torch.randn(size)
            acting = trained(inputs) - base(inputs)
            change = delta_weight(next(iter(deltas_of(parts, "unet").values())), base.weight.detach())
            exported = (
                base._conv_forward(inputs, change, None) if isinstance(base, nn.Conv2d) else inputs @ change.T
            )
        assert torch.allclose(acting, exported, atol=1e-4 * max(1, exported.abs().max())), seed
