"""T-GATE: a gate of 1 is off; beyond the gate neither text nor the negative pass is computed."""

from __future__ import annotations

import pytest
import torch
from mezzotint import AttentionTokens, Extension, hookimpl
from mezzotint.errors import PlanError
from mezzotint.testing import fingerprint
from mezzotint_blocks.caches import DeepCache, TextKV, TGate
from speed_stand_ins import RUN, Control

LAYERS = 6


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_a_gate_of_one_is_off_bit_for_bit(pipe, guidance):
    options = {**RUN, "guidance": guidance}
    result = pipe("a cat", use=[TGate(gate=1)], **options)
    assert torch.equal(result.latents, pipe("a cat", **options).latents)
    assert result.outputs["tgate"] == {"attentions_run": LAYERS * 6, "attentions_reused": 0}


def test_beyond_the_gate_the_batch_is_halved_and_no_layer_attends_to_the_text(pipe):
    rows, attended = [], []
    unet_hook = pipe.unet.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    layer = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2
    layer_hook = layer.to_k.register_forward_hook(lambda *_: attended.append(1))
    result = pipe("a cat", use=[TGate(gate=0.5)], **RUN)
    unet_hook.remove()
    layer_hook.remove()
    assert rows == [4, 4, 4, 2, 2, 2]
    assert len(attended) == 3
    assert result.outputs["tgate"] == {"attentions_run": LAYERS * 3, "attentions_reused": LAYERS * 3}


def test_what_is_kept_is_the_mean_of_the_passes_at_the_gate(pipe):
    """By a run whose every layer gives a number that says which pass and step it is."""
    seen = []

    class Numbers(Extension, name="numbers"):
        @hookimpl(at="mid.attentions.0")
        def unet_block_output(self, hidden_states, run):
            seen.append((run.step.index, hidden_states.shape[0]))

    pipe("a cat", use=[TGate(gate=0.5), Numbers()], **RUN)
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 2), (4, 2), (5, 2)]


def test_it_combines_with_deepcache_text_kv_and_a_controlnet(pipe, controlnet):
    others = [DeepCache(2), TextKV(), Control(model=controlnet)]
    off = pipe("a cat", use=[TGate(gate=1), *others], **RUN).latents
    assert torch.equal(off, pipe("a cat", use=others, **RUN).latents)
    on = pipe("a cat", use=[TGate(gate=0.5), *others], **RUN)
    # The first step beyond the gate has other passes, so its deep blocks run.
    assert on.outputs["deepcache"]["computed_steps"] == [0, 2, 3, 4]
    assert torch.isfinite(on.latents).all()


def test_extra_tokens_are_refused_by_name(pipe):
    class Tokens(Extension, name="ip-adapter"):
        @hookimpl
        def cross_attention_tokens(self, layer, run):
            return AttentionTokens(torch.zeros(1, 1, 8), torch.zeros(1, 1, 8))

    with pytest.raises(PlanError, match="tgate .* replaces the attention .* ip-adapter"):
        pipe("a cat", use=[TGate(), Tokens()], **RUN)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_an_error(pipe, error):
    before = fingerprint(pipe)

    def stop(progress):
        if progress.index == 4:
            raise error("stop")

    with pytest.raises(error):
        pipe("a cat", use=[TGate()], on_step=stop, **RUN)
    assert fingerprint(pipe).diff(before) == []
