"""Gradient checkpointing for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mezzotint_training import recomputed
from torch import nn


@contextmanager
def recomputing(model: nn.Module) -> Iterator[None]:
    """Blocks that can be recomputed in the backward pass are, and keep no activations (Chen et al. 2016).

    diffusers and transformers mark such blocks with `gradient_checkpointing` and call `_gradient_checkpointing_func`.
    """
    blocks = [module for module in model.modules() if hasattr(module, "gradient_checkpointing")]
    before = [dict(vars(block)) for block in blocks]
    modes = [block.training for block in blocks]
    try:
        for block in blocks:
            block.gradient_checkpointing = True
            block._gradient_checkpointing_func = recomputed
            # transformers recomputes in training mode only; `training` of the modules inside stays.
            block.training = True
        yield
    finally:
        for block, attributes, mode in zip(blocks, before, modes, strict=True):
            for name in ("gradient_checkpointing", "_gradient_checkpointing_func"):
                if name in attributes:
                    setattr(block, name, attributes[name])
                else:
                    vars(block).pop(name, None)
            block.training = mode
