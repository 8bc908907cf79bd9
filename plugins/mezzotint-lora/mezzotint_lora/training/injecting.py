"""peft's layers around those of a model, and the model as it was afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from mezzotint_training import TrainingError
from mezzotint_training.chance import seed_torch
from peft import LoHaConfig, LoKrConfig, LoraConfig, PeftConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from .settings import LoRASettings
from .targets import find_targets, is_convolution

NAME = "default"
_INITS: dict[str, bool | str] = {"default": True, "gaussian": "gaussian", "pissa": "pissa", "olora": "olora"}


@dataclass(frozen=True, eq=False)
class Injected:
    """A model with trainable layers in it."""

    model: nn.Module
    layers: dict[str, BaseTunerLayer]
    """By the name of the layer that each is around."""
    starts: dict[str, tuple[Tensor, Tensor]]
    """`down` and `up` at the start, where they were taken out of the weight (PiSSA, OLoRA)."""

    def parameters(self) -> list[nn.Parameter]:
        """Those that are trained."""
        return [p for layer in self.layers.values() for p in layer.parameters() if p.requires_grad]


@contextmanager
def injected(model: nn.Module, settings: LoRASettings, component: str) -> Iterator[Injected]:
    """Put peft's layers into a model; on leaving, everything about it is as it was.

    Only the new parameters require gradients inside. They are float32, whatever the model is.

    Raises:
        TrainingError: no layer is chosen, or there are peft layers in the model already.
    """
    if any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        raise TrainingError(f"the {component} has peft layers in it; remove them before training")
    targets = find_targets(model, settings, component)
    gradients = {parameter: parameter.requires_grad for parameter in model.parameters()}
    modes = {module: module.training for module in model.modules()}
    attributes = set(vars(model))
    weights = _set_aside(targets) if settings.init in ("pissa", "olora") else {}
    try:
        with torch.random.fork_rng(devices=[]):
            seed_torch("adapter", settings.seed, component)
            inject_adapter_in_model(_configuration(settings, targets), model, NAME)
        layers = {name: _layer(model, name) for name in targets}
        for parameter in gradients:
            parameter.requires_grad_(False)
        for layer in layers.values():
            layer.train()
            for name, parameter in layer.named_parameters():
                if not name.startswith("base_layer."):
                    parameter.data = parameter.data.float()
                    parameter.requires_grad_(True)
        starts = {name: _factors(layer) for name, layer in layers.items()} if weights else {}
        yield Injected(model, layers, starts)
    finally:
        for name, original in targets.items():
            parent, _, child = name.rpartition(".")
            model.get_submodule(parent)._modules[child] = original
        for parameter, data in weights.items():
            parameter.data = data
        for parameter, wanted in gradients.items():
            parameter.requires_grad_(wanted)
            parameter.grad = None
        for module, mode in modes.items():
            module.training = mode
        for name in set(vars(model)) - attributes:
            delattr(model, name)


def _configuration(settings: LoRASettings, targets: dict[str, nn.Module]) -> PeftConfig:
    rank, alpha = settings.rank, settings.alpha_of(settings.rank, conv=False)
    conv_rank = settings.conv_rank or rank
    convolutions = [name for name, module in targets.items() if is_convolution(module)]
    common = {
        "r": rank,
        "target_modules": sorted(targets),
        "rank_pattern": dict.fromkeys(convolutions, conv_rank),
        "alpha_pattern": dict.fromkeys(convolutions, settings.alpha_of(conv_rank, conv=True)),
    }
    if settings.kind == "loha":
        return LoHaConfig(alpha=alpha, rank_dropout=settings.dropout, use_effective_conv2d=True, **common)
    if settings.kind == "lokr":
        return LoKrConfig(
            alpha=alpha,
            rank_dropout=settings.dropout,
            decompose_both=True,
            decompose_factor=settings.factor,
            use_effective_conv2d=True,
            **common,
        )
    return LoraConfig(
        lora_alpha=alpha,
        lora_dropout=settings.dropout,
        use_rslora=settings.rslora,
        use_dora=settings.dora,
        init_lora_weights=_INITS[settings.init],
        **common,
    )


def _set_aside(targets: dict[str, nn.Module]) -> dict[nn.Parameter, Tensor]:
    """Give each weight a copy to be changed, since PiSSA and OLoRA take their start out of it; return the originals."""
    weights = {}
    for module in targets.values():
        parameter = module.weight
        weights[parameter] = parameter.data
        parameter.data = parameter.data.clone()
    return weights


def _layer(model: nn.Module, name: str) -> BaseTunerLayer:
    layer = model.get_submodule(name)
    assert isinstance(layer, BaseTunerLayer), name
    return layer


def _factors(layer: BaseTunerLayer) -> tuple[Tensor, Tensor]:
    return layer.lora_A[NAME].weight.detach().clone(), layer.lora_B[NAME].weight.detach().clone()
