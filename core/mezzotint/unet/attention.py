"""The composable attention processor: extra tokens and probes on one layer, without overwriting each other.

Installed only on layers where an attention hook is in use. With nothing to add it computes what diffusers'
`AttnProcessor2_0` computes, operation for operation, so the result is equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..hooks.blocks import Block

if TYPE_CHECKING:
    from torch import Tensor

    from ..pipeline.run import Run
    from ..planning.calls import Calls

AttentionProcessor = Callable[..., Any]
"""What diffusers calls with (attn, hidden_states, encoder_hidden_states, attention_mask, temb)."""


@dataclass(frozen=True, eq=False)
class AttentionTokens:
    """Extra keys and values for a cross-attention layer, attended apart from the text.

    `out + scale * mask * softmax(q kᵀ / √d) v`, the decoupled cross-attention of IP-Adapter (Ye et al. 2023,
    eq. 5).
    """

    key: Tensor
    """(p * n or 1, tokens, heads * head_dim), already projected for this layer."""
    value: Tensor
    """Like `key`."""
    scale: float | Tensor = 1.0
    mask: Tensor | None = None
    """Where in the image it counts: (p * n or 1, queries, 1), or `None` for everywhere."""


class ComposableAttention:
    """Attention with extra tokens added and probabilities shown to probes."""

    def __init__(self, layer: Block, calls: Calls, run: Run) -> None:
        self._layer = layer
        self._calls = calls
        self._run = run
        self._probed = calls.acts("attention_probe", layer.name)
        self._extended = calls.acts("cross_attention_tokens", layer.name)

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """The layer's output, as `AttnProcessor2_0` of diffusers computes it, plus what hooks add."""
        from torch.nn.functional import scaled_dot_product_attention

        residual = hidden_states
        if attn.spatial_norm is not None:
            hidden_states = attn.spatial_norm(hidden_states, temb)
        input_shape = hidden_states.shape
        if len(input_shape) == 4:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        batch = context.shape[0]
        if attention_mask is not None:
            attention_mask = attn.prepare_attention_mask(attention_mask, context.shape[1], batch)
            attention_mask = attention_mask.view(batch, attn.heads, -1, attention_mask.shape[-1])
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        if encoder_hidden_states is None:
            context = hidden_states
        elif attn.norm_cross:
            context = attn.norm_encoder_hidden_states(context)

        query = _heads(attn.to_q(hidden_states), attn.heads)
        key = _heads(attn.to_k(context), attn.heads)
        value = _heads(attn.to_v(context), attn.heads)
        if attn.norm_q is not None:
            query = attn.norm_q(query)
        if attn.norm_k is not None:
            key = attn.norm_k(key)
        hidden_states = scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
        hidden_states = _merge(hidden_states).to(query.dtype)
        if self._probed:
            self._calls.attention_probe(self._layer, _probabilities(query, key, attention_mask), self._run)
        if self._extended:
            hidden_states = self._add_tokens(hidden_states, query, attn.heads)

        hidden_states = attn.to_out[1](attn.to_out[0](hidden_states))
        if len(input_shape) == 4:
            hidden_states = hidden_states.transpose(-1, -2).reshape(input_shape)
        if attn.residual_connection:
            hidden_states = hidden_states + residual
        return hidden_states / attn.rescale_output_factor

    def _add_tokens(self, hidden_states: Tensor, query: Tensor, heads: int) -> Tensor:
        from torch.nn.functional import scaled_dot_product_attention

        rows = query.shape[0]
        for tokens in self._calls.cross_attention_tokens(self._layer, query, self._run):
            key = _heads(tokens.key.expand(rows, -1, -1), heads)
            value = _heads(tokens.value.expand(rows, -1, -1), heads)
            extra = _merge(scaled_dot_product_attention(query, key, value)).to(query.dtype)
            if tokens.mask is not None:
                extra = extra * tokens.mask
            hidden_states = hidden_states + tokens.scale * extra
        return hidden_states


def _heads(projected: Tensor, heads: int) -> Tensor:
    """(rows, tokens, heads * dim) → (rows, heads, tokens, dim)."""
    return projected.view(projected.shape[0], -1, heads, projected.shape[-1] // heads).transpose(1, 2)


def _merge(attended: Tensor) -> Tensor:
    """(rows, heads, tokens, dim) → (rows, tokens, heads * dim)."""
    rows, heads, _, dim = attended.shape
    return attended.transpose(1, 2).reshape(rows, -1, heads * dim)


def _probabilities(query: Tensor, key: Tensor, bias: Tensor | None) -> Tensor:
    """softmax(q kᵀ / √d + bias), (rows, heads, queries, keys)."""
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return (scores if bias is None else scores + bias).softmax(dim=-1)
