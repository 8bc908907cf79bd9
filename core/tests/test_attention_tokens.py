"""Several sets of extra tokens from one extension, and what the text itself attends to."""

from __future__ import annotations

import pytest
import torch
from mezzotint import AttentionTokens, Extension, hookimpl
from mezzotint.errors import HookReturnError


def tokens(layer, run, seed, scale=1.0):
    width = run.pipe.unet.get_submodule(layer.path).to_k.out_features
    values = torch.randn(1, 2, width, generator=torch.Generator().manual_seed(seed))
    return AttentionTokens(values, values, scale)


class First(Extension, name="first"):
    @hookimpl
    def cross_attention_tokens(self, layer, run):
        return tokens(layer, run, 1)


class Second(Extension, name="second"):
    @hookimpl
    def cross_attention_tokens(self, layer, run):
        return tokens(layer, run, 2)


class Both(Extension, name="both"):
    @hookimpl
    def cross_attention_tokens(self, layer, run):
        return [tokens(layer, run, 1), tokens(layer, run, 2)]


def test_a_list_of_tokens_is_what_two_extensions_add(pipe):
    apart = pipe("a", steps=2, seed=1, use=[First(), Second()]).latents
    assert torch.equal(pipe("a", steps=2, seed=1, use=[Both()]).latents, apart)
    assert not torch.equal(pipe("a", steps=2, seed=1, use=[First()]).latents, apart)


def test_an_empty_list_adds_nothing(pipe):
    class Empty(Extension, name="empty"):
        @hookimpl
        def cross_attention_tokens(self):
            return []

    plain = pipe("a", steps=2, seed=1).latents
    assert torch.equal(pipe("a", steps=2, seed=1, use=[Empty()]).latents, plain)


def test_each_member_of_a_list_is_checked(pipe):
    class Wrong(Extension, name="wrong"):
        @hookimpl
        def cross_attention_tokens(self, layer, run):
            return [tokens(layer, run, 1), torch.zeros(1)]

    with pytest.raises(HookReturnError, match=r"wrong.*expected mezzotint.AttentionTokens"):
        pipe("a", steps=1, seed=1, use=[Wrong()])


class Seen(Extension, name="seen"):
    @hookimpl
    def unet_input(self, run):
        run.publish(self, conditioning=run.conditioning, passes=run.passes)

    @hookimpl
    def latents(self, run):
        run.publish(self, afterwards=run.conditioning)


def test_run_conditioning_is_what_the_unet_gets_for_all_passes(pipe):
    expected = []
    handle = pipe.unet.register_forward_pre_hook(
        lambda module, args, kwargs: expected.append(kwargs["encoder_hidden_states"]), with_kwargs=True
    )
    seen = pipe("a", negative="b", steps=1, seed=1, n=2, use=[Seen()]).outputs["seen"]
    handle.remove()
    assert seen["conditioning"].embeddings is expected[0]
    assert seen["conditioning"].rows == 2 * len(seen["passes"])
    assert seen["afterwards"] is None
