"""Recorded U-Nets: whole where nobody needs the inside, block by block where somebody does, the same to the bit."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from mezzotint import Extension, hookimpl
from mezzotint.testing import fingerprint
from mezzotint_blocks.caches import DeepCache, TokenMerging
from mezzotint_blocks.speed import RecordedUNet
from speed_stand_ins import RUN, Control, Tokens, Weights


def test_it_is_equal_and_recorded_once_for_a_size_and_batch(pipe):
    plain, first = pipe("a cat", **RUN), pipe("a cat", use=[RecordedUNet()], **RUN)
    assert torch.equal(first.latents, plain.latents)
    assert first.outputs["recorded-unet"] == {
        "recordings": 1,
        "whole_calls": RUN["steps"],
        "block_calls": 0,
        "plain_calls": 0,
    }
    other = {**RUN, "size": (48, 32), "guidance": 1.0}
    counts = [
        pipe("a dog", use=[RecordedUNet()], **o).outputs["recorded-unet"]["recordings"]
        for o in (RUN, other, RUN, other)
    ]
    assert counts == [0, 1, 0, 0]
    assert torch.equal(pipe("a dog", use=[RecordedUNet()], **other).latents, pipe("a dog", **other).latents)


@pytest.mark.parametrize("other", [DeepCache(2), TokenMerging(), Tokens()], ids=lambda e: e.extension_name)
def test_where_somebody_needs_the_inside_blocks_are_recorded_and_it_stays_equal(pipe, other):
    result = pipe("a cat", use=[RecordedUNet(), other], **RUN)
    assert torch.equal(result.latents, pipe("a cat", use=[other], **RUN).latents)
    assert result.outputs["recorded-unet"]["whole_calls"] == 0
    assert result.outputs["recorded-unet"]["block_calls"] > 0
    # And the next run without it is whole again, from the recording of the U-Net alone.
    assert torch.equal(pipe("a cat", use=[RecordedUNet()], **RUN).latents, pipe("a cat", **RUN).latents)


def test_residuals_of_a_controlnet_are_inputs_of_the_recording(pipe, controlnet):
    control = Control(model=controlnet)
    result = pipe("a cat", use=[RecordedUNet(), control], **RUN)
    assert torch.equal(result.latents, pipe("a cat", use=[control], **RUN).latents)
    assert result.outputs["recorded-unet"]["whole_calls"] == RUN["steps"]


def test_a_fused_lora_is_seen_also_when_it_changes_at_every_step(pipe):
    class Scheduled(Extension, name="lora"):
        @hookimpl
        @contextmanager
        def patch_unet(self, unet):
            before = unet.conv_out.weight.detach().clone()
            try:
                yield
            finally:
                unet.conv_out.weight.copy_(before)

        @hookimpl
        def step_end(self, run):
            run.pipe.unet.conv_out.weight.mul_(1.1)

    pipe("a cat", use=[RecordedUNet()], **RUN)
    for lora in (Weights(), Scheduled()):
        result = pipe("a cat", use=[RecordedUNet(), lora], **RUN)
        assert torch.equal(result.latents, pipe("a cat", use=[lora], **RUN).latents)
        assert result.outputs["recorded-unet"]["recordings"] == 0


def test_an_adapter_that_is_not_fused_runs_as_it_is_at_every_scale(pipe):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
    peft.inject_adapter_in_model(config, pipe.unet)
    for scale in (1.0, 0.5):
        for module in pipe.unet.modules():
            if isinstance(getattr(module, "scaling", None), dict):
                module.scaling["default"] = scale
        result = pipe("a cat", use=[RecordedUNet()], **RUN)
        assert torch.equal(result.latents, pipe("a cat", **RUN).latents)
        assert result.outputs["recorded-unet"]["plain_calls"] > 0


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("others", [[], [DeepCache(2)]], ids=["alone", "with deepcache"])
def test_nothing_is_left(pipe, error, others):
    before = fingerprint(pipe)

    def stop(progress):
        if error is not None and progress.index == 2:
            raise error("stop")

    if error is None:
        pipe("a cat", use=[RecordedUNet(), *others], on_step=stop, **RUN)
    else:
        with pytest.raises(error):
            pipe("a cat", use=[RecordedUNet(), *others], on_step=stop, **RUN)
    assert fingerprint(pipe).diff(before) == []
    assert torch.equal(pipe("a cat", use=[RecordedUNet()], **RUN).latents, pipe("a cat", **RUN).latents)
