"""Whatever was on the models, and however it ended, they are bit for bit as they were."""

import itertools
import math

import pytest
import torch
from lora_oracle import CONV3, LINEAR, POINTWISE, predict, random_lows, unchanged, write_kohya
from mezzotint import Extension, hookimpl
from mezzotint_lora import LoRA, LoRAError
from safetensors.torch import save_file

KINDS = ("lora", "tucker", "loha", "lokr", "dora", "full", "norm")


@pytest.fixture
def file_of(pipe, tmp_path):
    """A file of each kind, over three shapes of layers."""

    def make(kind, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape):
            return torch.randn(*shape, generator=generator) * 0.2

        paths = (LINEAR, POINTWISE, CONV3) if kind != "norm" else ("down_blocks.0.resnets.0.norm1",)
        tensors = {}
        for path in paths:
            stem = f"lora_unet_{path.replace('.', '_')}"
            shape = pipe.unet.get_submodule(path).weight.shape
            tensors |= {f"{stem}.{name}": value for name, value in of_kind(kind, draw, *shape).items()}
        text = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
        tensors |= {f"{text}.lora_down.weight": draw(2, 32), f"{text}.lora_up.weight": draw(32, 2)}
        save_file(tensors, tmp_path / f"{kind}-{seed}.safetensors")
        return tmp_path / f"{kind}-{seed}.safetensors"

    return make


def of_kind(kind, draw, out, inner=1, *kernel):
    """Tensors of a change of rank 2 for a weight (out, inner, *kernel), by kohya's and LyCORIS's names."""
    ones = [1] * len(kernel)
    low = {"lora_down.weight": draw(2, inner, *kernel), "lora_up.weight": draw(out, 2, *ones)}
    if kind == "lora":
        return low
    if kind == "tucker" and kernel:
        return {**low, "lora_down.weight": draw(2, inner, *ones), "lora_mid.weight": draw(2, 2, *kernel)}
    if kind == "tucker":
        return low
    if kind == "loha":
        flat = inner * math.prod(kernel)
        return {
            f"hada_w{i}_{side}": draw(*shape)
            for i in "12"
            for side, shape in (("a", (out, 2)), ("b", (2, flat)))
        }
    if kind == "lokr":
        return {"lokr_w1": draw(2, 2), "lokr_w2": draw(out // 2, inner // 2, *kernel)}
    if kind == "dora":
        return {**low, "dora_scale": draw(out, 1, *ones).abs() + 1}
    if kind == "full":
        return {"diff": draw(out, inner, *kernel)}
    return {"w_norm": draw(out), "b_norm": draw(out)}


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def any_pipe(pipe, request):
    """The pipeline in each dtype; in its own again afterwards."""
    models = (pipe.unet, pipe.text_encoder)
    kept = [[(parameter, parameter.data) for parameter in model.parameters()] for model in models]
    for model in models:
        for parameter in model.parameters():
            parameter.data = parameter.data.to(request.param)
    yield pipe
    for pairs in kept:
        for parameter, data in pairs:
            parameter.data = data


@pytest.mark.parametrize("fuse", [False, True], ids=["beside", "fused"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_leaves_nothing_behind(any_pipe, file_of, kind, fuse):
    plain = predict(any_pipe.unet)
    with unchanged(any_pipe):
        with any_pipe.using(LoRA(file_of(kind), 0.7, fuse=fuse)):
            assert not torch.equal(predict(any_pipe.unet), plain)
        assert torch.equal(predict(any_pipe.unet), plain)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_three_on_shared_layers_leave_nothing_behind_in_any_order(any_pipe, file_of, order):
    loras = [LoRA(file_of("lora", 1), fuse=True), LoRA(file_of("dora", 2)), LoRA(file_of("lora", 3), -0.5)]
    first, second, third = (loras[i] for i in order)
    with unchanged(any_pipe), any_pipe.using(first):
        alone = predict(any_pipe.unet)
        with unchanged(any_pipe), any_pipe.using(second, third):
            assert not torch.equal(predict(any_pipe.unet), alone)
        assert torch.equal(predict(any_pipe.unet), alone)


def test_parameters_keep_their_storage(pipe, file_of):
    before = {name: parameter.data_ptr() for name, parameter in pipe.unet.named_parameters()}
    with pipe.using(LoRA(file_of("lora"), fuse=True)):
        assert pipe.unet.get_submodule(LINEAR).weight.data_ptr() != before[f"{LINEAR}.weight"]
    assert {name: parameter.data_ptr() for name, parameter in pipe.unet.named_parameters()} == before


@pytest.mark.parametrize("fuse", [False, True], ids=["beside", "fused"])
def test_an_error_on_the_way_in_leaves_nothing_behind(any_pipe, file_of, monkeypatch, fuse):
    from mezzotint_lora.layer import AdaptedLayer

    settle, calls = AdaptedLayer.settle, itertools.count()

    def fail(layer):
        settle(layer)
        if next(calls) == 2:
            raise MemoryError("no room")

    monkeypatch.setattr(AdaptedLayer, "settle", fail)
    with unchanged(any_pipe):
        with pytest.raises(MemoryError), any_pipe.using(LoRA(file_of("lora"), fuse=fuse)):
            raise AssertionError("unreachable")
        monkeypatch.undo()


def test_a_file_that_does_not_fit_changes_nothing(pipe, file_of, tmp_path):
    bad = tmp_path / "bad.safetensors"
    save_file(
        {
            "lora_unet_nowhere.lora_down.weight": torch.ones(1, 2),
            "lora_unet_nowhere.lora_up.weight": torch.ones(2, 1),
        },
        bad,
    )
    with unchanged(pipe), pytest.raises(LoRAError), pipe.using(LoRA(file_of("lora")), LoRA(bad)):
        raise AssertionError("unreachable")


class Trip(Extension, name="trip"):
    """Fail at the second step."""

    @hookimpl
    def unet_output(self, run):
        if run.step.index == 1:
            raise RuntimeError("tripped")


@pytest.mark.parametrize("fuse", [False, True], ids=["beside", "fused"])
def test_an_error_between_two_steps_leaves_nothing_behind(pipe, file_of, fuse):
    with unchanged(pipe), pytest.raises(RuntimeError, match="tripped"):
        pipe("a", steps=3, seed=1, use=[LoRA(file_of("lora"), fuse=fuse), LoRA(file_of("dora")), Trip()])


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_leaves_nothing_behind(pipe, file_of, stop):
    def interrupt(progress):
        raise stop

    with unchanged(pipe), pytest.raises(stop):
        pipe("a", steps=2, seed=1, use=LoRA(file_of("lora")), on_step=interrupt)


def test_forgetting_resources_in_between_changes_nothing(pipe, file_of):
    with unchanged(pipe), pipe.using(LoRA(file_of("lora"), fuse=True)):
        inside = predict(pipe.unet)
        pipe.free()
        with pipe.using(LoRA(file_of("lora", 2))):
            pass
        assert torch.equal(predict(pipe.unet), inside)


def test_no_tensor_of_a_lora_is_kept_by_the_model_after_it_left(pipe, file_of):
    from mezzotint_lora.layer import Beside

    with pipe.using(LoRA(file_of("lora"))):
        beside = pipe.unet.get_submodule(LINEAR).forward.__self__
        assert isinstance(beside, Beside)
        assert beside.down.numel()
    assert not [value for value in vars(beside).values() if isinstance(value, torch.Tensor)]


def test_a_schedule_goes_on_after_resources_were_forgotten(pipe, file_of):
    with unchanged(pipe), pipe.using(LoRA(file_of("lora"), schedule=[(0, 1), (1, 0)])):
        first = pipe("a", steps=2, seed=1).latents
        pipe.free()
        assert torch.equal(pipe("a", steps=2, seed=1).latents, first)


def test_a_shadow_that_was_there_before_stays(pipe, file_of):
    layer = pipe.unet.get_submodule(LINEAR)
    own = layer.forward
    layer.forward = lambda x: own(x) + 1
    try:
        with unchanged(pipe), pipe.using(LoRA(file_of("lora"))):
            assert not torch.equal(layer(torch.ones(1, 32)), own(torch.ones(1, 32)))
        assert torch.equal(layer(torch.ones(1, 32)), own(torch.ones(1, 32)) + 1)
    finally:
        del layer.forward


def test_the_oracle_of_this_file_can_fail(pipe, tmp_path):
    lows = random_lows(pipe.unet, [LINEAR], [1.0])
    write_kohya(tmp_path / "a.safetensors", lows)
    weight = pipe.unet.get_submodule(LINEAR).weight
    data = weight.data
    with pytest.raises(AssertionError), unchanged(pipe):
        weight.data = data.clone() + 1e-7
    weight.data = data
