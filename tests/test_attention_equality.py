"""The composable attention processor against diffusers' own, bit for bit, and IP-Adapter's formula."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import Attention
from mezzotint import AttentionTokens, Extension, hookimpl
from mezzotint.hooks.blocks import Block
from mezzotint.testing import tiny_pipeline
from mezzotint.unet.attention import ComposableAttention

LAYER = Block("mid.attn2", "mid.attn2", "attention_layer", "mid", 0)


class NoCalls:
    """A run without hooks at this layer, but with the processor installed."""

    def acts(self, point, place):
        return True

    def attention_probe(self, layer, probabilities, run):
        self.probabilities = probabilities

    def cross_attention_tokens(self, layer, query, run):
        return []


@pytest.mark.parametrize(
    ("options", "context", "mask"),
    [
        ({"query_dim": 16, "heads": 2, "dim_head": 8}, None, None),
        ({"query_dim": 16, "heads": 2, "dim_head": 8, "cross_attention_dim": 12}, (2, 5, 12), None),
        ({"query_dim": 16, "heads": 2, "dim_head": 8, "cross_attention_dim": 12}, (2, 5, 12), (2, 1, 5)),
        (
            {
                "query_dim": 16,
                "heads": 2,
                "dim_head": 8,
                "cross_attention_dim": 12,
                "cross_attention_norm": "layer_norm",
            },
            (2, 5, 12),
            None,
        ),
        (
            {"query_dim": 16, "heads": 2, "dim_head": 8, "norm_num_groups": 4, "residual_connection": True},
            None,
            None,
        ),
        ({"query_dim": 16, "heads": 2, "dim_head": 8, "qk_norm": "layer_norm", "bias": True}, None, None),
        ({"query_dim": 16, "heads": 2, "dim_head": 8, "rescale_output_factor": 1.5}, None, None),
    ],
)
@pytest.mark.parametrize("image_shaped", [False, True])
def test_with_nothing_added_it_is_diffusers_processor_bit_for_bit(options, context, mask, image_shaped):
    torch.manual_seed(0)
    attn = Attention(**options).eval()
    hidden_states = torch.randn(2, 16, 4, 4) if image_shaped else torch.randn(2, 16, 16)
    inputs = {
        "encoder_hidden_states": None if context is None else torch.randn(context),
        "attention_mask": None if mask is None else torch.randn(mask),
    }
    with torch.no_grad():
        stock = attn(hidden_states, **inputs)
        attn.set_processor(ComposableAttention(LAYER, NoCalls(), None))
        ours = attn(hidden_states, **inputs)
    assert torch.equal(ours, stock)


class Probe(Extension, name="probe"):
    @hookimpl(at="**")
    def attention_probe(self, probabilities, run):
        run.state(self, list).append(probabilities)

    @hookimpl
    def latents(self, run):
        sums = torch.cat([p.sum(-1).flatten() for p in run.state(self, list)])
        torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-5, rtol=0)


class NoTokens(Extension, name="no-tokens"):
    @hookimpl
    def cross_attention_tokens(self, layer, run):
        width = run.pipe.unet.get_submodule(layer.path).to_k.out_features
        return AttentionTokens(torch.ones(1, 2, width), torch.ones(1, 2, width), scale=0.0)


@pytest.mark.parametrize("extension", [Probe, NoTokens])
def test_probing_every_layer_or_adding_nothing_changes_no_bit_of_a_run(model_folder, extension):
    pipe = tiny_pipeline(model_folder)
    plain = pipe("a cat", steps=2, seed=1).latents
    assert torch.equal(pipe("a cat", steps=2, seed=1, use=[extension()]).latents, plain)


def test_extra_tokens_are_decoupled_cross_attention_as_in_ip_adapter():
    from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0

    torch.manual_seed(0)
    attn = Attention(query_dim=16, heads=2, dim_head=8, cross_attention_dim=12).eval()
    stock = IPAdapterAttnProcessor2_0(hidden_size=16, cross_attention_dim=12, num_tokens=(3,), scale=0.7)
    hidden_states, text, image = torch.randn(2, 9, 16), torch.randn(2, 5, 12), torch.randn(2, 1, 3, 12)
    tokens = AttentionTokens(stock.to_k_ip[0](image[:, 0]), stock.to_v_ip[0](image[:, 0]), scale=0.7)

    class Calls(NoCalls):
        def cross_attention_tokens(self, layer, query, run):
            return [tokens]

    with torch.no_grad():
        expected = stock(attn, hidden_states, (text, [image]))
        ours = ComposableAttention(LAYER, Calls(), None)(attn, hidden_states, text)
    assert torch.equal(ours, expected)
