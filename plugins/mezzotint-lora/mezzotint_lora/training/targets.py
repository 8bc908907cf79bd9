"""Which layers of a model are changed, by their names in the model itself."""

from __future__ import annotations

import re

from mezzotint_training import TrainingError
from torch import nn

from .settings import LoRASettings

_ATTENTION = re.compile(r"(^|\.)(to_q|to_k|to_v|to_out\.0|q_proj|k_proj|v_proj|out_proj)$")
_TRANSFORMER = re.compile(r"(^|\.)(attentions|transformer_blocks|self_attn|mlp)\.")
"""kohya's `Transformer2DModel`, `CLIPAttention` and `CLIPMLP`."""
_CONVOLUTION = re.compile(r"(^|\.)(resnets|downsamplers|upsamplers)\.")
"""kohya's `ResnetBlock2D`, `Downsample2D` and `Upsample2D`."""


def find_targets(model: nn.Module, settings: LoRASettings, component: str) -> dict[str, nn.Module]:
    """Layers by name, in the order of the model.

    Raises:
        TrainingError: there is none, or a pattern is no regular expression.
    """
    # PiSSA and OLoRA decompose a matrix.
    kinds = nn.Linear if settings.init in ("pissa", "olora") else (nn.Linear, nn.Conv2d)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    found = {
        name: module
        for name, module in layers.items()
        if _among(name, settings.targets) and _wanted(name, settings)
    }
    if not found:
        raise TrainingError(_none_found(list(layers), settings, component))
    return found


def is_convolution(module: nn.Module) -> bool:
    """Whether it is a convolution of more than one pixel, which has a rank of its own."""
    return isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)


def _among(name: str, targets: str) -> bool:
    """Whether it is a layer of these targets."""
    return {
        "attention": bool(_ATTENTION.search(name)),
        "transformer": bool(_TRANSFORMER.search(name)) and not _CONVOLUTION.search(name),
        "all": bool(_TRANSFORMER.search(name) or _CONVOLUTION.search(name)),
    }[targets]


def _wanted(name: str, settings: LoRASettings) -> bool:
    """Whether `only` and `skip` let a layer through."""
    try:
        wanted = not settings.only or any(re.search(pattern, name) for pattern in settings.only)
        skipped = any(re.search(pattern, name) for pattern in settings.skip)
    except re.error as error:
        raise TrainingError(f"only/skip: {error.pattern!r} is no regular expression: {error}") from None
    return wanted and not skipped


def _none_found(layers: list[str], settings: LoRASettings, component: str) -> str:
    """Why none of the layers is chosen, and names of some that would be."""
    asked = f" that match {', '.join(settings.only)}" if settings.only else ""
    asked += f" without {', '.join(settings.skip)}" if settings.skip else ""
    said = f"the {component} has no layers for targets={settings.targets}{asked}"
    elsewhere = [name for name in layers if _among(name, "all") and _wanted(name, settings)]
    if elsewhere:
        return f"{said}; {elsewhere[0]} is among those of targets=all"
    among = [name for name in layers if _among(name, settings.targets)]
    return f"{said}; those are such as {among[0]} and {among[-1]}" if among else said
