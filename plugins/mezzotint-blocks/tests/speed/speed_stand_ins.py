"""Stand-ins for LoRA, ControlNet and IP-Adapter, and the call that the tests of caches and speed make."""

from __future__ import annotations

from contextlib import contextmanager

import torch
from mezzotint import AttentionTokens, Extension, Residuals, hookimpl

RUN = {"seed": 3, "steps": 6, "guidance": 5.0, "n": 2}


class Weights(Extension, name="lora"):
    """What LoRA does to a weight, under its name, so that order is that of the real one."""

    amount: float = 0.5

    @hookimpl
    @contextmanager
    def patch_unet(self, unet):
        weights = [p for name, p in unet.named_parameters() if name.endswith(("to_k.weight", "to_v.weight"))]
        before = [weight.detach().clone() for weight in weights]
        for weight in weights:
            weight.mul_(1 + self.amount)
        try:
            yield
        finally:
            for weight, value in zip(weights, before, strict=True):
                weight.copy_(value)


class Control(Extension, name="controlnet"):
    """A ControlNet over a fixed picture."""

    model: object

    @hookimpl
    def unet_residuals(self, sample, timestep, conditioning):
        condition = picture().expand(len(sample), -1, -1, -1)
        down, mid = self.model(
            sample,
            timestep,
            encoder_hidden_states=conditioning.embeddings,
            controlnet_cond=condition,
            return_dict=False,
        )
        return Residuals(down=tuple(down), mid=mid)


class Tokens(Extension, name="tokens"):
    """Two tokens beside the text, as IP-Adapter adds."""

    @hookimpl
    def cross_attention_tokens(self, layer, run):
        width = run.pipe.unet.get_submodule(layer.path).to_k.out_features
        tokens = torch.linspace(-1, 1, 2 * width).view(1, 2, width)
        return AttentionTokens(tokens, tokens, scale=0.5)


def picture() -> torch.Tensor:
    """The condition, (1, 3, 32, 32)."""
    return torch.linspace(0, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
