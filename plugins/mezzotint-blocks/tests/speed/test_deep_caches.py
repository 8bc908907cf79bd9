"""DeepCache, first-block cache and EasyCache: off is off bit for bit, on is what the reference computes."""

from __future__ import annotations

import pytest
import torch
from mezzotint.errors import PlanError, RequestError
from mezzotint.testing import fingerprint
from mezzotint_blocks import CFGInterval
from mezzotint_blocks.caches import DeepCache, EasyCache, FirstBlockCache
from mezzotint_blocks.caches.deep_blocks import EVERYTHING, deep_blocks
from speed_stand_ins import RUN, Control, Weights, picture

OFF = [DeepCache(interval=1), FirstBlockCache(threshold=0), EasyCache(threshold=0)]
ON = [DeepCache(interval=3), FirstBlockCache(threshold=10), EasyCache(threshold=10, warmup=2)]


def name_of(extension):
    return extension.extension_name


@pytest.mark.parametrize("off", OFF, ids=name_of)
def test_off_is_off_bit_for_bit(pipe, off):
    result = pipe("a cat", use=[off], **RUN)
    assert torch.equal(result.latents, pipe("a cat", **RUN).latents)
    assert result.outputs[name_of(off)]["computed_steps"] == list(range(6))
    assert result.outputs[name_of(off)]["blocks_reused"] == 0


def test_deepcache_takes_nothing_older_than_its_interval_when_passes_come_back(pipe):
    gap = CFGInterval(start=1 / 6, end=4 / 6)
    outputs = pipe("a cat", use=[DeepCache(interval=5), gap], **RUN).outputs["deepcache"]
    # Steps 0, 4 and 5 run the positive pass alone, 1 to 3 both; at 5 an interval begins.
    assert outputs["computed_steps"] == [0, 1, 5]
    outputs = pipe("a cat", use=[DeepCache(interval=3), gap], **RUN).outputs["deepcache"]
    assert outputs["computed_steps"] == [0, 1, 3, 4]


@pytest.mark.parametrize("branch", range(5))
@pytest.mark.parametrize("interval", [1, 2, 3])
def test_deepcache_computes_what_its_authors_package_computes(pipe, stock, stock_latents, interval, branch):
    DeepCacheSDHelper = pytest.importorskip("DeepCache").DeepCacheSDHelper
    helper = DeepCacheSDHelper(pipe=stock)
    helper.set_params(cache_interval=interval, cache_branch_id=branch)
    helper.enable()
    expected = stock_latents(stock)
    assert torch.equal(pipe("a cat", use=[DeepCache(interval, branch)], **RUN).latents, expected)


def test_deepcache_with_a_controlnet_computes_what_the_package_does_with_diffusers(
    pipe, controlnet, model_folder, stock_latents
):
    import diffusers

    DeepCacheSDHelper = pytest.importorskip("DeepCache").DeepCacheSDHelper
    stock = diffusers.StableDiffusionControlNetPipeline.from_pretrained(
        model_folder, controlnet=controlnet, safety_checker=None
    )
    stock.set_progress_bar_config(disable=True)
    helper = DeepCacheSDHelper(pipe=stock)
    helper.set_params(cache_interval=3, cache_branch_id=1)
    helper.enable()
    expected = stock_latents(stock, image=picture())
    control = Control(model=controlnet)
    result = pipe("a cat", use=[DeepCache(3, 1), control], **RUN)
    assert torch.allclose(result.latents, expected, atol=1e-5)
    assert not torch.allclose(result.latents, pipe("a cat", use=[DeepCache(3, 1)], **RUN).latents, atol=1e-2)


@pytest.mark.parametrize("off", OFF, ids=name_of)
def test_with_a_controlnet_off_is_still_off(pipe, controlnet, off):
    control = Control(model=controlnet)
    plain = pipe("a cat", use=[control], **RUN).latents
    assert torch.equal(pipe("a cat", use=[off, control], **RUN).latents, plain)


@pytest.mark.parametrize("interval", [2, 3, 4])
def test_deep_blocks_run_at_every_nth_step_and_no_other(pipe, interval, count_calls):
    calls = count_calls(pipe.unet.mid_block)
    outputs = pipe("a cat", use=[DeepCache(interval)], **RUN).outputs["deepcache"]
    steps = [k for k in range(6) if k % interval == 0]
    assert outputs["computed_steps"] == steps
    assert calls() == len(steps)
    deep = deep_blocks(pipe.unet, 0).steps
    assert (outputs["blocks_run"], outputs["blocks_reused"]) == (deep * len(steps), deep * (6 - len(steps)))


def test_steps_before_the_start_are_complete(pipe):
    outputs = pipe("a cat", use=[DeepCache(3, start=0.5)], **RUN).outputs["deepcache"]
    assert outputs["computed_steps"] == [0, 1, 2, 3]


def test_shallow_blocks_run_at_every_step(pipe, count_calls):
    shallow, deep = map(count_calls, pipe.unet.down_blocks[0].resnets)
    pipe("a cat", use=[DeepCache(3, branch=1)], **RUN)
    assert (shallow(), deep()) == (6, 2)


def test_first_block_cache_is_limited_by_the_threshold_and_by_its_most_steps_in_a_row(pipe):
    def computed(**options):
        extension = FirstBlockCache(**options)
        return pipe("a cat", use=[extension], **RUN).outputs["first-block-cache"]["computed_steps"]

    assert computed(threshold=1e-9) == list(range(6))
    assert computed(threshold=10, most=2) == [0, 3]
    assert computed(threshold=10, most=10) == [0]


def test_easycache_leaves_every_block_out_and_runs_the_warmup(pipe, count_calls):
    unet = pipe.unet
    calls = [count_calls(block) for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks)]
    outputs = pipe("a cat", use=[EasyCache(threshold=10, warmup=3, most=2)], **RUN).outputs["easycache"]
    assert outputs["computed_steps"] == [0, 1, 2, 5]
    assert {call() for call in calls} == {4}


def test_a_step_with_other_passes_shares_nothing(pipe):
    """Guidance that drops the negative pass for a while: its rows are others, so its deep blocks run."""
    from mezzotint import Extension, hookimpl

    class Late(Extension, name="late"):
        @hookimpl
        def passes(self, passes, run):
            return passes[1:] if run.step.index >= 4 else None

    outputs = pipe("a cat", use=[DeepCache(3), Late()], **RUN).outputs["deepcache"]
    assert outputs["computed_steps"] == [0, 3, 4]


@pytest.mark.parametrize("on", ON, ids=name_of)
def test_a_lora_counts(pipe, on):
    plain, changed = pipe("a cat", use=[on], **RUN), pipe("a cat", use=[on, Weights()], **RUN)
    assert not torch.allclose(plain.latents, changed.latents, atol=1e-3)
    assert torch.equal(pipe("a cat", use=[on], **RUN).latents, plain.latents)


@pytest.mark.parametrize("first", ON, ids=name_of)
@pytest.mark.parametrize("second", ON, ids=name_of)
def test_two_caches_of_the_same_blocks_are_refused_by_name(pipe, first, second):
    if first is second:
        return
    with pytest.raises(PlanError, match=rf"two claim it: {min(name_of(first), name_of(second))} .*"):
        pipe("a cat", use=[first, second], **RUN)


def test_a_branch_that_the_encoder_does_not_have_is_refused_with_the_ones_it_has(pipe):
    with pytest.raises(
        RequestError, match="branch 9 of a U-Net whose encoder has 5 layers; 0 to 4 are possible"
    ):
        pipe("a cat", use=[DeepCache(branch=9)], **RUN)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("on", ON, ids=name_of)
def test_nothing_is_left_after_a_run_and_after_an_error(pipe, on, error):
    before = fingerprint(pipe)

    def stop(progress):
        if progress.index == 3:
            raise error("stop")

    pipe("a cat", use=[on], **RUN)
    with pytest.raises(error):
        pipe("a cat", use=[on], on_step=stop, **RUN)
    assert fingerprint(pipe).diff(before) == []


def test_what_is_deep_covers_the_u_net_from_the_outside_in(pipe):
    counts = [deep_blocks(pipe.unet, branch).steps for branch in (EVERYTHING, 0, 1, 2, 3, 4)]
    assert counts == sorted(counts, reverse=True)
    assert deep_blocks(pipe.unet, 2).names == {"down.0.downsamplers.0", "down.1", "mid", "up.0"}
    assert deep_blocks(pipe.unet, 3).names == {"down.1", "mid", "up.0.resnets.0", "up.0.resnets.1"}
