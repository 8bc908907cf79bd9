"""Weights: one number, negative, by component, by block, over the run; and any number of LoRAs at once."""

import itertools
from contextlib import contextmanager

import pytest
import torch
from lora_oracle import CONV3, LINEAR, POINTWISE, changed, predict, random_lows, unchanged, write_kohya
from mezzotint import Extension, MezzotintError, hookimpl
from mezzotint_lora import LoRA, LoRAError
from safetensors.torch import load_file, save_file

UP = "up_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture
def lora(pipe, tmp_path):
    """A file with its changes."""

    def make(seed=0, paths=(LINEAR, POINTWISE, CONV3, UP)):
        lows = random_lows(pipe.unet, list(paths), [2.0] * len(paths), seed)
        path = write_kohya(tmp_path / f"{seed}.safetensors", lows)
        return path, {module: low.change for module, low in lows.items()}

    return make


def using(pipe, *loras):
    with pipe.using(*loras):
        return predict(pipe.unet)


@pytest.mark.parametrize("fuse", [False, True], ids=["beside", "fused"])
@pytest.mark.parametrize("weight", [0.3, 1.5, -0.7])
def test_a_weight_multiplies_the_change(pipe, lora, weight, fuse):
    path, changes = lora()
    result = using(pipe, LoRA(path, weight, fuse=fuse))
    assert (result - changed(pipe.unet, changes, weight)).abs().max() < 1e-5


@pytest.mark.parametrize("fuse", [False, True], ids=["beside", "fused"])
@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
def test_a_convolution_that_pads_with_something_else_than_zeros_keeps_doing_so(
    pipe, lora, monkeypatch, mode, fuse
):
    path, changes = lora(paths=(CONV3,))
    padded_with_zeros = changed(pipe.unet, changes)
    monkeypatch.setattr(pipe.unet.get_submodule(CONV3), "padding_mode", mode)
    expected = changed(pipe.unet, changes)
    assert (using(pipe, LoRA(path, fuse=fuse)) - expected).abs().max() < 1e-5
    assert (padded_with_zeros - expected).abs().max() > 1e-4


@pytest.mark.parametrize("fuse", [False, True], ids=["beside", "fused"])
def test_weight_zero_is_the_base_bit_for_bit(pipe, lora, fuse):
    path, _ = lora()
    assert torch.equal(using(pipe, LoRA(path, 0, fuse=fuse)), predict(pipe.unet))


def test_a_lora_and_its_opposite_cancel(pipe, lora):
    path, _ = lora()
    assert torch.allclose(using(pipe, LoRA(path, 0.8), LoRA(path, -0.8)), predict(pipe.unet), atol=1e-5)


@pytest.mark.parametrize("fuse", [False, True, None], ids=["beside", "fused", "mixed"])
def test_the_sum_of_three_is_the_same_bits_in_every_order(pipe, lora, fuse):
    found = [lora(seed) for seed in range(3)]
    results = []
    for order in itertools.permutations(range(3)):
        loras = [LoRA(found[i][0], (1.0, -0.4, 0.7)[i], fuse=i == 1 if fuse is None else fuse) for i in order]
        results.append(using(pipe, *loras))
    total = {
        module: sum(w * changes[module] for w, (_, changes) in zip((1.0, -0.4, 0.7), found, strict=True))
        for module in found[0][1]
    }
    assert all(torch.equal(result, results[0]) for result in results)
    assert (results[0] - changed(pipe.unet, total)).abs().max() < 1e-5


def test_blocks_have_factors_of_their_own_and_the_closest_counts(pipe, lora):
    path, changes = lora()
    factors = {LINEAR: 0.5, POINTWISE: 0.0, CONV3: 2.0, UP: 1.0}
    expected = changed(
        pipe.unet, {module: factors[module] * change for module, change in changes.items()}, 0.6
    )
    blocks = {"mid": 0.5, "down.*": 3, "down.0.attentions": 0, "down.0.resnets.0": 2}
    assert (using(pipe, LoRA(path, 0.6, blocks=blocks)) - expected).abs().max() < 1e-5


def test_a_block_that_is_not_in_the_file_is_named(pipe, lora):
    with pytest.raises(LoRAError, match=r"blocks: 'up.7' names no module of this LoRA; did you mean up.1"):
        using(pipe, LoRA(lora()[0], blocks={"up.7": 0.5}))


def test_two_blocks_that_disagree_are_an_error(pipe, lora):
    with pytest.raises(LoRAError, match="both name"):
        using(pipe, LoRA(lora()[0], blocks={"down.*": 0.5, "*.0": 0.2}))


def test_the_text_encoder_has_a_weight_of_its_own(pipe, lora):
    path, _ = lora()
    tensors = load_file(path)
    layer = pipe.text_encoder.get_submodule("encoder.layers.0.mlp.fc1")
    down, up = torch.randn(2, layer.in_features), torch.randn(layer.out_features, 2)
    stem = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    save_file({**tensors, f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}, path)
    x = torch.randn(1, layer.in_features)
    base, unet = layer(x), predict(pipe.unet)
    for options, text_weight in (
        ({"weight": 0.5}, 0.5),
        ({"weight": 0.5, "text_encoder_weight": 0.2}, 0.2),
        ({"text_encoder_weight": 0}, 0),
        ({"weight": 0, "text_encoder_weight": 1}, 1),
        ({"blocks": {"text": 0.5}}, 0.5),
        ({"blocks": {"text.0.mlp": 0.1, "text": 7}}, 0.1),
    ):
        with torch.no_grad(), pipe.using(LoRA(path, **options)):
            assert torch.allclose(layer(x), base + text_weight * (x @ down.T @ up.T), atol=1e-4)
            assert torch.equal(predict(pipe.unet), unet) == (options.get("weight") == 0)


class Weigh(Extension, name="weigh"):
    """What one linear layer does at each step, as a matrix."""

    @hookimpl
    def unet_output(self, run):
        layer = run.pipe.unet.get_submodule(LINEAR)
        run.state(self, list).append(layer(torch.eye(layer.in_features)).T)
        run.publish(self, matrices=run.state(self, list))


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ([(0.5, 1), (0.5, 0)], [1, 1, 0, 0]),
        ([(0, 0), (1, 1)], [0, 0.25, 0.5, 0.75]),
        ([(0.25, 1), (0.75, -1)], [1, 1, 0, -1]),
        ([(0.3, 0.6)], [0.6] * 4),
    ],
)
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_schedule_changes_the_weight_at_each_step(pipe, lora, schedule, factors, kind):
    path, changes = lora(paths=[LINEAR])
    if kind == "full":
        save_file({f"lora_unet_{LINEAR.replace('.', '_')}.diff": changes[LINEAR].contiguous()}, path)
    base = pipe.unet.get_submodule(LINEAR).weight.detach()
    result = pipe("a", steps=4, seed=1, use=[LoRA(path, 0.8, schedule=schedule), Weigh()])
    for matrix, factor in zip(result.outputs["weigh"]["matrices"], factors, strict=True):
        assert torch.allclose(matrix, base + 0.8 * factor * changes[LINEAR], atol=1e-5)


class Versions(Extension, name="versions"):
    """What extensions that keep what a layer computed look at to see whether it still does."""

    @hookimpl
    def unet_output(self, run):
        run.state(self, list).append(run.pipe.unet.get_submodule(LINEAR).weight._version)
        run.publish(self, seen=run.state(self, list))


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_others_can_see_that_a_schedule_changed_a_layer(pipe, lora, kind):
    path, changes = lora(paths=[LINEAR])
    if kind == "full":
        save_file({f"lora_unet_{LINEAR.replace('.', '_')}.diff": changes[LINEAR].contiguous()}, path)
    use = [LoRA(path, schedule=[(0, 1), (0.5, 1), (0.5, 0)]), Versions()]
    first, second, third, fourth = pipe("a", steps=4, seed=1, use=use).outputs["versions"]["seen"]
    assert first == second != third == fourth


class Half(Extension, name="half"):
    """The U-Net in bfloat16 for a run, as extensions for speed do it: after `lora`, on what they find."""

    @hookimpl(after=["lora"])
    @contextmanager
    def patch_unet(self, unet):
        before = [(parameter, parameter.data) for parameter in unet.parameters()]
        for parameter, data in before:
            parameter.data = data.bfloat16()
        own = unet.forward

        def forward(sample, timestep, encoder_hidden_states, **options):
            return tuple(
                o.float()
                for o in own(sample.bfloat16(), timestep, encoder_hidden_states.bfloat16(), **options)
            )

        unet.forward = forward
        try:
            yield
        finally:
            del unet.forward
            for parameter, data in before:
                parameter.data = data


@pytest.mark.parametrize("kind", ["lora", "fused", "full"])
def test_another_extension_may_convert_the_model_meanwhile(pipe, lora, kind):
    path, changes = lora(paths=[LINEAR, CONV3])
    if kind == "full":
        save_file({f"lora_unet_{m.replace('.', '_')}.diff": c.contiguous() for m, c in changes.items()}, path)
    schedule = () if kind == "fused" else ((0, 1), (0.5, 1), (0.5, -0.5))
    one = LoRA(path, 0.8, fuse=kind == "fused", schedule=schedule)
    expected = pipe("a", steps=2, seed=1, use=[one]).latents
    with unchanged(pipe), pipe.using(one):
        first = pipe("a", steps=2, seed=1).latents
        half = pipe("a", steps=2, seed=1, use=[Half()]).latents
        again = pipe("a", steps=2, seed=1).latents
    assert torch.equal(first, expected)
    assert torch.equal(again, expected)
    assert not torch.equal(half, expected)
    assert (half - expected).abs().max() < 0.1 * expected.abs().max()


def test_a_schedule_begins_again_with_each_run(pipe, lora):
    path, _ = lora()
    with pipe.using(LoRA(path, schedule=[(0, 1), (1, -1)])):
        first = pipe("a", steps=3, seed=1).latents
        assert torch.equal(pipe("a", steps=3, seed=1).latents, first)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"weight": float("nan")}, "finite"),
        ({"schedule": [(0.5, 1), (0.2, 0)]}, "fractions must not fall"),
        ({"schedule": [(2, 1)]}, "from 0 .start. to 1 .end."),
        ({"schedule": [(0, float("inf"))]}, "finite number"),
        ({"blocks": {"mid": float("nan")}}, "finite"),
        ({"schedule": [(0, 1)], "fuse": True}, "fuse keeps the weights as they are for all steps"),
        ({"wieght": 1}, "did you mean weight"),
        ({"swap_rank": -1}, "greater than or equal to 0"),
    ],
)
def test_an_option_out_of_range_is_a_sentence(options, sentence):
    with pytest.raises(MezzotintError, match=sentence):
        LoRA("a.safetensors", **options)


def test_a_recipe_makes_it_again(pipe, lora):
    import mezzotint

    path, _ = lora()
    result = pipe("a", steps=2, seed=1, use=LoRA(path, 0.4, blocks={"mid": 0.5}, schedule=[(0, 1), (1, 0.2)]))
    again = mezzotint.replay(result.recipe, pipe=pipe)
    assert torch.equal(result.latents, again.latents)
    path.write_bytes(path.read_bytes().replace(b"lora_unet", b"lora_uneT"))
    with pytest.raises(MezzotintError, match="has other content than the image was made with"):
        mezzotint.replay(result.recipe, pipe=pipe)
