"""What promises the same picture gives it: to the bit, or to the rounding of other kernels, in every pair."""

from __future__ import annotations

import itertools

import pytest
import torch
from mezzotint.errors import PlanError
from mezzotint.testing import fingerprint
from mezzotint_blocks.caches import DeepCache, TextKV, TokenMerging
from mezzotint_blocks.speed import (
    AttentionSlicing,
    BFloat16,
    ChannelsLast,
    Fast,
    FusedQKV,
    PackedWeights,
    RecordedUNet,
    VaeTiling,
)
from speed_stand_ins import RUN, Control, Weights

BITS = [TextKV(), VaeTiling(), RecordedUNet(), Fast(exact=True)]
ROUNDING = [FusedQKV(), ChannelsLast(), PackedWeights(), AttentionSlicing()]
EXACT = [*BITS, *ROUNDING]
ROUNDED = 1e-5
"""Of the largest latent, after six steps. Other kernels sum in another order."""


def name_of(extension):
    return extension.extension_name


def distance(a, b):
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("extension", BITS, ids=name_of)
def test_the_latents_are_equal_bit_for_bit(pipe, extension):
    assert torch.equal(pipe("a cat", use=[extension], **RUN).latents, pipe("a cat", **RUN).latents)


@pytest.mark.parametrize("extension", ROUNDING, ids=name_of)
def test_the_latents_are_equal_to_rounding_and_the_pictures_to_one_step_of_255(pipe, extension):
    plain, result = pipe("a cat", **RUN), pipe("a cat", use=[extension], **RUN)
    assert distance(result.latents, plain.latents) < ROUNDED
    for picture, expected in zip(result.images, plain.images, strict=True):
        difference = (
            torch.tensor(list(picture.tobytes())).int() - torch.tensor(list(expected.tobytes())).int()
        )
        assert difference.abs().max() <= 1


@pytest.mark.parametrize(
    "pair", list(itertools.combinations(EXACT, 2)), ids=lambda p: "+".join(map(name_of, p))
)
def test_every_pair_is_exact_or_refused_by_name(pipe, pair):
    names = {name_of(each) for each in pair}
    if any(set(names) & set(each.conflicts) for each in pair):
        with pytest.raises(PlanError, match="declares a conflict with"):
            pipe("a cat", use=list(pair), **RUN)
        return
    before = fingerprint(pipe)
    plain = pipe("a cat", **RUN).latents
    assert distance(pipe("a cat", use=list(pair), **RUN).latents, plain) < ROUNDED
    assert fingerprint(pipe).diff(before) == []


@pytest.mark.parametrize("extension", EXACT, ids=name_of)
def test_with_a_lora_and_a_controlnet_it_is_what_those_alone_give(pipe, controlnet, extension):
    others = [Weights(), Control(model=controlnet)]
    plain = pipe("a cat", use=others, **RUN).latents
    assert distance(pipe("a cat", use=[*others, extension], **RUN).latents, plain) < ROUNDED
    # The LoRA is gone: nothing that was derived from its weights may be taken.
    bare = pipe("a cat", **RUN).latents
    assert distance(pipe("a cat", use=[extension], **RUN).latents, bare) < ROUNDED


@pytest.mark.parametrize("extension", [FusedQKV(), PackedWeights()], ids=name_of)
def test_weights_that_change_while_attached_are_seen(pipe, extension):
    with pipe.using(extension):
        pipe("a cat", **RUN)
        with torch.no_grad():
            for name, weight in pipe.unet.named_parameters():
                if name.endswith(("to_q.weight", "conv1.weight")):
                    weight.mul_(1.5)
        changed = pipe("a cat", **RUN).latents
    assert distance(changed, pipe("a cat", **RUN).latents) < ROUNDED


def test_adapters_that_are_not_fused_are_right_at_every_scale(pipe):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v"], init_lora_weights=False)
    peft.inject_adapter_in_model(config, pipe.unet)
    layers = [m for m in pipe.unet.modules() if isinstance(getattr(m, "scaling", None), dict)]
    seen = []
    with pipe.using(FusedQKV(), TextKV()):
        for scale in (1.0, 3.0, 0.5):
            for layer in layers:
                layer.scaling["default"] = scale
            seen.append(pipe("a cat", **RUN).latents)
    for scale, latents in zip((1.0, 3.0, 0.5), seen, strict=True):
        for layer in layers:
            layer.scaling["default"] = scale
        assert torch.equal(latents, pipe("a cat", **RUN).latents)


@pytest.mark.parametrize("size", [(32, 32), (48, 40)])
@pytest.mark.parametrize("extension", [PackedWeights(), FusedQKV(), Fast(exact=True)], ids=name_of)
def test_another_size_with_what_is_kept_is_right_too(pipe, extension, size):
    pipe("a cat", use=[extension], **RUN)
    plain = pipe("a cat", size=size, **RUN).latents
    assert distance(pipe("a cat", size=size, use=[extension], **RUN).latents, plain) < ROUNDED


def test_the_three_projections_of_self_attention_are_one_multiplication(pipe, monkeypatch):
    from torch.nn import functional

    shapes, linear = [], functional.linear
    monkeypatch.setattr(
        functional, "linear", lambda x, w, b=None: shapes.append(tuple(w.shape)) or linear(x, w, b)
    )
    width = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q.in_features
    with pipe.using(FusedQKV()):
        shapes.clear()
        pipe("a cat", **{**RUN, "steps": 1})
    layers = [m for n, m in pipe.unet.named_modules() if n.endswith("attn1")]
    fused = [shape for shape in shapes if shape[0] == 3 * shape[1]]
    assert len(fused) == len(layers)
    assert (3 * width, width) in fused


def test_the_decoder_is_packed_too_unless_it_is_left_out(pipe):
    without = pipe("a cat", use=[PackedWeights(vae=False)], **RUN).outputs["packed-weights"]
    outputs = pipe("a cat", use=[PackedWeights()], **RUN).outputs["packed-weights"]
    assert outputs["convolutions"] > without["convolutions"] > 20
    assert outputs["bytes"] > without["bytes"] > 0


def test_attention_in_slices_sees_the_rows_it_is_allowed(pipe):
    seen = []
    layer = pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2
    handle = layer.to_k.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    pipe("a cat", use=[AttentionSlicing(rows=3)], **RUN)
    handle.remove()
    assert seen == [3, 1] * RUN["steps"]


def test_tiles_make_a_large_picture_and_leave_the_decoder_as_it_was(pipe):
    before = fingerprint(pipe)
    options = {**RUN, "size": (64, 64), "steps": 1}
    plain = pipe("a cat", **options)
    tiled = pipe("a cat", use=[VaeTiling(tile=32)], **options)
    assert tiled.images[0].size == (64, 64)
    assert torch.equal(plain.latents, tiled.latents)
    assert plain.images[0].tobytes() != tiled.images[0].tobytes()
    assert fingerprint(pipe).diff(before) == []


def test_bfloat16_is_near_and_says_that_it_is_slow_where_it_is(pipe, caplog, monkeypatch):
    from mezzotint_blocks.speed import machine

    monkeypatch.setattr(machine, "_has_fast_bf16", lambda device: False)
    plain = pipe("a cat", **RUN)
    result = pipe("a cat", use=[BFloat16()], **RUN)
    assert "no native bfloat16" in caplog.text
    assert result.latents.dtype == torch.float32
    assert 1e-4 < distance(result.latents, plain.latents) < 0.2


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_nothing_is_left_in_any_order_and_after_an_interrupt(pipe, order):
    used = [Fast(), DeepCache(2), TokenMerging(), Weights()]
    before = fingerprint(pipe)

    def stop(progress):
        if progress.index == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipe("a cat", use=[used[k] for k in order], on_step=stop, **{**RUN, "n": 1})
    assert fingerprint(pipe).diff(before) == []
