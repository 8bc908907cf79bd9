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
    found = {name: module for name, module in model.named_modules() if _chosen(name, module, settings)}
    if settings.init in ("pissa", "olora"):
        # Both decompose a matrix.
        found = {name: module for name, module in found.items() if isinstance(module, nn.Linear)}
    if not found:
        asked = f" that match {', '.join(settings.only)}" if settings.only else ""
        raise TrainingError(
            f"the {component} has no layers for targets={settings.targets}{asked}; names are such as "
            f"{next(name for name, module in model.named_modules() if isinstance(module, nn.Linear))}"
        )
    return found


def is_convolution(module: nn.Module) -> bool:
    """Whether it is a convolution of more than one pixel, which has a rank of its own."""
    return isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)


def _chosen(name: str, module: nn.Module, settings: LoRASettings) -> bool:
    if not isinstance(module, nn.Linear | nn.Conv2d):
        return False
    by_place = {
        "attention": bool(_ATTENTION.search(name)),
        "transformer": bool(_TRANSFORMER.search(name)) and not _CONVOLUTION.search(name),
        "all": bool(_TRANSFORMER.search(name) or _CONVOLUTION.search(name)),
    }[settings.targets]
    try:
        wanted = not settings.only or any(re.search(pattern, name) for pattern in settings.only)
        skipped = any(re.search(pattern, name) for pattern in settings.skip)
    except re.error as error:
        raise TrainingError(f"only/skip: {error.pattern!r} is no regular expression: {error}") from None
    return by_place and wanted and not skipped
