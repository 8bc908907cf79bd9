"""Perturbed-attention guidance: away from what the model predicts with its self-attention switched off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mezzotint import Block, Extension, Field, Pass, Run, hookimpl
from mezzotint.errors import PlanError

from ..several import Several
from ..steps import End, Start, within

if TYPE_CHECKING:
    from torch import Tensor

PERTURBED = Pass("perturbed", conditioning="positive")


class PAG(Extension, name="pag", conflicts="pag"):
    """Perturbed-attention guidance: one more pass, with the identity in place of self-attention (Ahn et al. 2024).

    `scale * (positive - perturbed)` is added to what guidance gives, so it works with and without a negative
    prompt and with any guidance. Several layers are perturbed in one pass, so a run has one of it.
    """

    scale: float = Field(3.0, ge=0, description="strength; 0 is off and costs nothing")
    adaptive: float = Field(0.0, ge=0, description="how fast the strength falls, per timestep below 1000")
    layers: Several = Field(("mid.**.attn1",), description="self-attention layers that are perturbed")
    start: Start = 0.0
    end: End = 1.0

    @hookimpl
    def passes(self, passes: tuple[Pass, ...], run: Run) -> tuple[Pass, ...] | None:
        """One more, last in the batch."""
        return (*passes, PERTURBED) if self.strength(run) > 0 else None

    @hookimpl(at=lambda self: self.layers)
    def attention_processor(self, layer: Block, run: Run) -> IdentityInPass:
        """The layer's own attention, except in the rows of the perturbed pass."""
        if layer.path.endswith("attn2"):
            raise PlanError(
                f"pag: {layer.path} attends to the text; name layers of self-attention, such as mid.**.attn1"
            )
        return IdentityInPass(run.pipe.unet.get_submodule(layer.path).processor, run)

    @hookimpl
    def prediction(self, prediction: Tensor, predictions: Mapping[str, Tensor], run: Run) -> Tensor | None:
        """On top of guidance."""
        if PERTURBED.name not in predictions:
            return None
        return prediction + self.strength(run) * (predictions["positive"] - predictions[PERTURBED.name])

    def strength(self, run: Run) -> float:
        """The scale at this step."""
        if not within(run, self.start, self.end):
            return 0.0
        timestep = float(run.step.timestep)  # type: ignore[union-attr]
        return max(0.0, self.scale - self.adaptive * (1000 - timestep))


class IdentityInPass:
    """An attention processor with each query attending to itself alone in the rows of the perturbed pass."""

    def __init__(self, processor: Any, run: Run) -> None:
        self._processor = processor
        self._run = run

    def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(rows, tokens, dim) → the same shape."""
        import torch

        if PERTURBED not in self._run.passes:
            return self._processor(attn, hidden_states, *args, **kwargs)
        rows = self._run.rows(PERTURBED.name)
        before, after = hidden_states[: rows.start], hidden_states[rows.stop :]
        others = torch.cat([before, after]) if len(after) else before
        attended = self._processor(attn, others, *args, **kwargs)
        perturbed = identity_attention(attn, hidden_states[rows])
        return torch.cat([attended[: rows.start], perturbed, attended[rows.start :]])


def identity_attention(attn: Any, hidden_states: Tensor) -> Tensor:
    """Self-attention whose probabilities are the identity: each token's value goes through the output projection."""
    residual = hidden_states
    if attn.group_norm is not None:
        hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
    hidden_states = attn.to_out[1](attn.to_out[0](attn.to_v(hidden_states)))
    if attn.residual_connection:
        hidden_states = hidden_states + residual
    return hidden_states / attn.rescale_output_factor
