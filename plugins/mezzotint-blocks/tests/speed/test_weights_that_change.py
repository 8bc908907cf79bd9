"""Weights and forwards that change behind torch's back, or by another's hand: nothing that is kept may outlive them."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from mezzotint import Extension, hookimpl, shadowed, weight_sample, weight_state
from mezzotint_blocks import ChannelsLast, Fast, FusedQKV, PackedWeights, RecordedUNet, TextKV
from speed_stand_ins import RUN

KEEPERS = (PackedWeights(), FusedQKV(), TextKV(), RecordedUNet(), Fast(exact=True))


def name_of(extension):
    return extension.extension_name


@pytest.mark.parametrize("keeper", KEEPERS, ids=name_of)
def test_what_is_written_through_data_between_runs_is_seen(pipe, keeper):
    """As diffusers' `EMAModel.copy_to` writes."""
    with pipe.using(keeper):
        pipe("a cat", **RUN)
        before = [weight.data.clone() for weight in pipe.unet.parameters()]
        for weight in pipe.unet.parameters():
            weight.data.mul_(1.2)
        after = pipe("a cat", **RUN).latents
    plain = pipe("a cat", **RUN).latents
    for weight, value in zip(pipe.unet.parameters(), before, strict=True):
        weight.data.copy_(value)
    assert torch.allclose(after, plain, atol=1e-4 * float(plain.abs().max()))


@pytest.mark.parametrize("form", ["contiguous", "channels last", "transposed", "whole number", "empty"])
def test_a_sample_differs_where_a_weight_does(form):
    weight = {
        "contiguous": torch.randn(32, 16, 3, 3),
        "channels last": torch.randn(32, 16, 3, 3).contiguous(memory_format=torch.channels_last),
        "transposed": torch.randn(40, 30).T,
        "whole number": torch.arange(300),
        "empty": torch.zeros(0),
    }[form]
    before, state = weight_sample(weight, None), weight_state(weight)
    assert weight_sample(weight, None) == before
    weight.data.add_(1)
    assert weight_state(weight) == state
    assert (weight_sample(weight, None) != before) == (form != "empty")


class StepScale(Extension, name="aa-step-scale"):
    """A forward that answers differently at every call, on a block or on the U-Net."""

    on: str = "mid_block.resnets.0"

    @hookimpl
    @contextmanager
    def patch_unet(self, unet):
        module = unet.get_submodule(self.on)
        forward, calls = module.forward, [0]

        def counted(*args, **kwargs):
            calls[0] += 1
            answer = forward(*args, **kwargs)
            factor = 1 + 0.1 * calls[0]
            return (answer[0] * factor,) if isinstance(answer, tuple) else answer * factor

        with shadowed(module, counted):
            yield


@pytest.mark.parametrize("on", ["mid_block.resnets.0", ""])
@pytest.mark.parametrize("keeper", [RecordedUNet(), Fast(exact=True)], ids=name_of)
def test_another_extensions_forward_is_not_recorded(pipe, keeper, on):
    plain = pipe("a cat", use=[StepScale(on=on)], **RUN)
    assert torch.equal(pipe("a cat", use=[StepScale(on=on), keeper], **RUN).latents, plain.latents)


def test_another_extensions_forward_is_not_compiled_away(pipe):
    from mezzotint_blocks.speed.regions import Region, Regions

    module = pipe.unet.mid_block.resnets[0]
    own, regions = module.forward, Regions()
    sample, time = torch.randn(1, module.in_channels, 8, 8), torch.randn(1, module.time_emb_proj.in_features)
    with torch.no_grad(), shadowed(module, lambda *args, **kwargs: own(*args, **kwargs) * 2):
        doubled = module(sample, time)
        with shadowed(module, Region(module, regions)):
            assert torch.equal(module(sample, time), doubled)
    assert regions.uncompiled_calls == 1


class Exchange(Extension, name="exchange"):
    """Another parameter from the third step on."""

    @hookimpl
    def step_begin(self, run):
        if run.step.index == 2:
            resnet = run.pipe.unet.mid_block.resnets[0].conv1
            resnet.weight = torch.nn.Parameter(resnet.weight * 1.5, requires_grad=False)


def test_a_parameter_that_is_exchanged_during_a_run_is_seen(pipe):
    layer = pipe.unet.mid_block.resnets[0].conv1
    weight = layer.weight
    plain = pipe("a cat", use=[Exchange()], **RUN).latents
    layer.weight = weight
    recorded = pipe("a cat", use=[Exchange(), RecordedUNet()], **RUN).latents
    layer.weight = weight
    assert torch.equal(recorded, plain)


def test_a_switch_of_diffusers_is_seen_by_the_next_run(pipe):
    pipe("a cat", use=[RecordedUNet()], **RUN)
    pipe.unet.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    recorded, plain = (pipe("a cat", use=use, **RUN).latents for use in ([RecordedUNet()], []))
    pipe.unet.disable_freeu()
    assert torch.equal(recorded, plain)


def test_bfloat16_is_recorded_as_its_conversion_depends_on_nothing(pipe):
    from mezzotint_blocks import BFloat16

    with pipe.using(BFloat16(), RecordedUNet()):
        result = pipe("a cat", **RUN)
    assert result.outputs["recorded-unet"]["whole_calls"] == RUN["steps"]
    assert torch.equal(pipe("a cat", use=[BFloat16()], **RUN).latents, result.latents)


@pytest.mark.parametrize("layout", [PackedWeights(), ChannelsLast()], ids=name_of)
def test_block_norms_are_those_of_other_layouts_too(pipe, layout):
    from mezzotint_blocks import BlockNorms

    norms = [
        pipe("a cat", use=[BlockNorms(), *use], **RUN).outputs["block-norms"]["rows"]
        for use in ([], [layout])
    ]
    assert [row["rms"] for row in norms[1]] == pytest.approx([row["rms"] for row in norms[0]], rel=1e-4)


def test_projections_of_a_run_that_was_interrupted_are_not_counted(pipe):
    class Stop(Extension, name="stop"):
        @hookimpl
        def step_begin(self, run):
            if run.step.index == 2:
                raise KeyboardInterrupt

    clean = pipe("a cat", use=[TextKV()], **RUN).outputs["text-kv"]
    with pytest.raises(KeyboardInterrupt):
        pipe("a cat", use=[TextKV(), Stop()], **RUN)
    assert pipe("a cat", use=[TextKV()], **RUN).outputs["text-kv"] == clean
