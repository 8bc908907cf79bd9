"""Token merging: a ratio of 0 is off, everything else is what tomesd computes."""

from __future__ import annotations

import pytest
import torch
from mezzotint.testing import fingerprint
from mezzotint_blocks.caches import TextKV, TokenMerging
from mezzotint_blocks.caches.merging import match_tokens
from speed_stand_ins import RUN, Weights


def test_a_ratio_of_zero_is_off_bit_for_bit(pipe):
    assert torch.equal(
        pipe("a cat", use=[TokenMerging(ratio=0)], **RUN).latents, pipe("a cat", **RUN).latents
    )


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.75])
@pytest.mark.parametrize("deepest", [1, 2])
@pytest.mark.parametrize("parts", [(False, False), (True, True)])
def test_the_latents_are_those_of_tomesd(pipe, stock, stock_latents, ratio, deepest, parts):
    tomesd = pytest.importorskip("tomesd")
    cross, feed = parts
    tomesd.apply_patch(
        stock,
        ratio=ratio,
        max_downsample=deepest,
        use_rand=False,
        merge_crossattn=cross,
        merge_mlp=feed,
    )
    extension = TokenMerging(
        ratio=ratio, deepest=deepest, random=False, cross_attention=cross, feed_forward=feed
    )
    result = pipe("a cat", use=[extension], **RUN).latents
    assert torch.equal(result, stock_latents(stock))
    assert not torch.allclose(result, pipe("a cat", **RUN).latents, atol=1e-4)


@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_matching_with_random_destinations_is_that_of_tomesd(size):
    merge = pytest.importorskip("tomesd.merge")
    height, width = size
    x = torch.randn(2, height * width, 6, generator=torch.Generator().manual_seed(1))
    expected = merge.bipartite_soft_matching_random2d(
        x, width, height, 2, 2, 20, generator=torch.Generator().manual_seed(5)
    )
    ours = match_tokens(x, height, width, 2, 20, torch.Generator().manual_seed(5))
    merged = ours.merge(x)
    assert torch.equal(merged, expected[0](x))
    assert torch.equal(ours.unmerge(merged), expected[1](merged))


def test_attention_gets_the_expected_number_of_tokens(pipe):
    seen = []
    layer = pipe.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    handle = layer.to_q.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    pipe("a cat", use=[TokenMerging(ratio=0.5)], **RUN)
    handle.remove()
    assert seen == [128] * RUN["steps"]


def test_a_run_can_be_repeated_whatever_the_state_of_torchs_generator(pipe):
    first = pipe("a cat", use=[TokenMerging()], **RUN).latents
    torch.rand(7)
    assert torch.equal(pipe("a cat", use=[TokenMerging()], **RUN).latents, first)
    assert not torch.equal(pipe("a cat", use=[TokenMerging(seed=1)], **RUN).latents, first)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_nothing_is_left(pipe, error):
    before = fingerprint(pipe)

    def stop(progress):
        if error is not None and progress.index == 2:
            raise error

    others = [TextKV(), Weights()]
    if error is None:
        pipe("a cat", use=[TokenMerging(), *others], **RUN)
    else:
        with pytest.raises(error):
            pipe("a cat", use=[TokenMerging(), *others], on_step=stop, **RUN)
    assert fingerprint(pipe).diff(before) == []
