"""The U-Net in OpenVINO: exact to rounding, converted once, and in torch by name where its inside is needed."""

from __future__ import annotations

import os
from contextlib import contextmanager

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install openvino")

import torch
from mezzotint import Extension, Residuals, hookimpl, shadowed
from mezzotint.errors import RequestError
from mezzotint.testing import fingerprint, save_tiny_model, tiny_pipeline
from mezzotint_openvino import OpenVINO
from mezzotint_openvino.conversion import choose_precision

RUN = {"seed": 3, "steps": 3, "guidance": 5.0}


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    return tiny_pipeline(save_tiny_model(tmp_path_factory.mktemp("models") / "tiny"))


def near(a, b):
    return float((a - b).abs().max() / b.abs().max()) < 1e-5


class Weights(Extension, name="lora"):
    """A LoRA that is fused: weights that are others while it is attached, or change at every step."""

    amount: float = 0.5
    every_step: bool = False

    @hookimpl
    @contextmanager
    def patch_unet(self, unet):
        before = unet.conv_out.weight.detach().clone()
        unet.conv_out.weight.mul_(1 + self.amount)
        try:
            yield
        finally:
            unet.conv_out.weight.copy_(before)

    @hookimpl
    def step_begin(self, run):
        if self.every_step and run.step.index:
            run.pipe.unet.conv_out.weight.mul_(1 + self.amount)


def test_it_is_exact_to_rounding_and_converted_once_for_each_batch(pipe):
    plain, first = pipe("a cat", **RUN), pipe("a cat", use=[OpenVINO()], **RUN)
    assert near(first.latents, plain.latents)
    assert first.outputs["openvino"] == {"calls": 3, "torch_calls": 0, "conversions": 1, "because": ""}
    again = pipe("a dog", use=[OpenVINO()], **RUN).outputs["openvino"]
    assert again["conversions"] == 0
    without_guidance = {**RUN, "guidance": 1.0}
    single = pipe("a cat", use=[OpenVINO()], **without_guidance)
    assert single.outputs["openvino"]["conversions"] == 1
    assert near(single.latents, pipe("a cat", **without_guidance).latents)


def test_a_fused_lora_is_another_model_and_the_same_one_again_is_found(pipe):
    plain = pipe("a cat", use=[Weights()], **RUN).latents
    first, bare, again = (
        pipe("a cat", use=use, **RUN)
        for use in ([OpenVINO(), Weights()], [OpenVINO()], [OpenVINO(), Weights()])
    )
    assert near(first.latents, plain)
    assert torch.equal(again.latents, first.latents)
    assert not near(bare.latents, plain)
    assert again.outputs["openvino"]["conversions"] == 0


def test_weights_that_change_during_the_run_send_it_back_to_torch(pipe, caplog):
    changing = Weights(every_step=True)
    plain = pipe("a cat", use=[changing], **RUN).latents
    result = pipe("a cat", use=[OpenVINO(), changing], **RUN)
    assert near(result.latents, plain)
    assert result.outputs["openvino"]["torch_calls"] == 2
    assert "an extension changes the weights during the run" in caplog.text


def test_residuals_of_a_controlnet_are_inputs(pipe):
    class Control(Extension, name="controlnet"):
        @hookimpl
        def unet_residuals(self, sample, run):
            rows = len(sample)
            return Residuals(mid=torch.full((rows, 16, 8, 8), 0.5 + run.step.index))

    plain = pipe("a cat", use=[Control()], **RUN).latents
    result = pipe("a cat", use=[OpenVINO(), Control()], **RUN)
    assert near(result.latents, plain)
    assert result.outputs["openvino"]["calls"] == 3


class Blocks(Extension, name="blocks"):
    @hookimpl(at="mid")
    def unet_block_output(self, hidden_states):
        return hidden_states * 1.1


class Probes(Extension, name="probes"):
    @hookimpl
    def attention_probe(self, probabilities):
        return None


class Patches(Extension, name="patches"):
    @hookimpl
    @contextmanager
    def patch_unet(self, unet):
        forward = unet.mid_block.forward
        with shadowed(unet.mid_block, lambda *args, **kwargs: forward(*args, **kwargs) * 1.1):
            yield


@pytest.mark.parametrize("extension", [Blocks(), Probes(), Patches()], ids=lambda e: e.extension_name)
def test_an_extension_that_needs_the_inside_is_named_and_gets_it(pipe, caplog, extension):
    name = extension.extension_name
    plain = pipe("a cat", use=[extension], **RUN).latents
    result = pipe("a cat", use=[extension, OpenVINO()], **RUN)
    assert torch.equal(result.latents, plain)
    assert result.outputs["openvino"]["calls"] == 0
    assert f"openvino: the U-Net runs in torch, because {name} needs its inside" in caplog.text


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_nothing_is_left(pipe, error):
    before = fingerprint(pipe)

    def stop(progress):
        if error is not None and progress.index == 1:
            raise error("stop")

    if error is None:
        pipe("a cat", use=[OpenVINO()], on_step=stop, **RUN)
    else:
        with pytest.raises(error):
            pipe("a cat", use=[OpenVINO()], on_step=stop, **RUN)
    assert fingerprint(pipe).diff(before) == []


def test_bfloat16_is_refused_where_the_cpu_has_none_and_auto_is_exact_there(monkeypatch):
    monkeypatch.setattr("mezzotint_openvino.conversion._has_bf16", lambda: False)
    assert choose_precision("auto") == choose_precision("f32") == "f32"
    with pytest.raises(RequestError, match="no native bfloat16"):
        choose_precision("bf16")
    monkeypatch.setattr("mezzotint_openvino.conversion._has_bf16", lambda: True)
    assert choose_precision("auto") == choose_precision("bf16") == "bf16"


def test_a_model_that_scales_and_shifts_its_norms_is_converted_too(tmp_path):
    pipe = tiny_pipeline(
        save_tiny_model(tmp_path, resnet_time_scale_shift="scale_shift", block_out_channels=(16, 16))
    )
    plain = pipe("a cat", **RUN).latents
    assert near(pipe("a cat", use=[OpenVINO()], **RUN).latents, plain)
