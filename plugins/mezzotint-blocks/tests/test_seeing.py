"""Attention maps, norms, features and the ledger: what they say is what is there, and they change no bit."""

from __future__ import annotations

import csv
import io
import json

import pytest
import torch
from mezzotint import Extension, hookimpl
from mezzotint.errors import PlanError, RequestError
from mezzotint_blocks import AttentionMaps, BlockNorms, FeatureMaps, FreeU, Trace
from mezzotint_blocks.attention_grid import attention_grid

RUN = {"seed": 3, "steps": 3, "guidance": 5.0}


@pytest.mark.parametrize("extension", [AttentionMaps, BlockNorms, FeatureMaps, Trace])
def test_looking_changes_no_bit(pipe, extension):
    plain = pipe("a cat", n=2, **RUN)
    watched = pipe("a cat", n=2, use=[extension()], **RUN)
    assert torch.equal(watched.latents, plain.latents)
    assert [image.tobytes() for image in watched.images] == [image.tobytes() for image in plain.images]


def by_hand(pipe, prompt, tokens, layers, **run):
    """Mean over heads, places of layers and steps of the attention to tokens, computed from queries and keys."""
    sums, count, handles = 0, 0, []

    def hook(attn, args, kwargs):
        nonlocal sums, count
        hidden_states, context = args[0], kwargs["encoder_hidden_states"]
        scores = attn.get_attention_scores(
            attn.head_to_batch_dim(attn.to_q(hidden_states)), attn.head_to_batch_dim(attn.to_k(context))
        )
        positive = scores.view(len(hidden_states), attn.heads, *scores.shape[1:])[len(hidden_states) // 2 :]
        heads = positive[..., tokens].mean(-1)
        heat = heads.mean(1)
        side = int(heat.shape[1] ** 0.5)
        heat = heat.view(len(heat), 1, side, side)
        large = torch.nn.functional.interpolate(heat, (16, 16), mode="bicubic")
        large = large.clamp(heat.amin((2, 3), keepdim=True), heat.amax((2, 3), keepdim=True))
        sums = sums + side**2 * large[:, 0]
        count += side**2

    for name, module in pipe.unet.named_modules():
        if name.endswith("attn2") and any(layer in name for layer in layers):
            handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
    try:
        pipe(prompt, **run)
    finally:
        for handle in handles:
            handle.remove()
    return sums / count


@pytest.mark.parametrize(
    ("layers", "modules"),
    [
        ({}, ("up_blocks",)),
        ({"layers": "**.attn2"}, ("up_blocks", "mid_block", "down_blocks")),
        ({"layers": "up.1.**.attn2"}, ("up_blocks.1",)),
    ],
)
def test_a_map_is_the_mean_attention_of_the_words_tokens(pipe, layers, modules):
    # Each letter is a token: "a", " cat" is 2 to 4.
    expected = by_hand(pipe, "a cat", [2, 3, 4], modules, n=2, **RUN)
    maps = pipe("a cat", n=2, use=[AttentionMaps(**layers)], **RUN).outputs["attention-maps"]["maps"]
    assert [list(of_image) for of_image in maps] == [["cat"], ["cat"]]
    made = torch.stack([of_image["cat"] for of_image in maps])
    torch.testing.assert_close(made, expected, atol=1e-6, rtol=1e-4)


def test_a_map_loses_a_part_of_what_the_other_words_have(pipe):
    def maps(**options):
        return pipe("cat dog cow", use=[AttentionMaps(**options)], **RUN).outputs["attention-maps"]["maps"][0]

    plain, apart = maps(apart=0), maps(apart=0.5)
    assert list(plain) == ["cat", "dog", "cow"]
    torch.testing.assert_close(apart["dog"], plain["dog"] - 0.25 * (plain["cat"] + plain["cow"]))
    alone = maps(words=["dog"], apart=0.5)
    torch.testing.assert_close(alone["dog"], plain["dog"])


def test_maps_are_of_each_images_own_prompt_and_of_the_chosen_steps(pipe):
    prompts = ["a cat", "the dog"]
    maps = pipe(prompts, n=2, use=[AttentionMaps(end=0.4)], **RUN).outputs["attention-maps"]["maps"]
    assert [list(of_image) for of_image in maps] == [["cat"], ["cat"], ["dog"], ["dog"]]
    # The second image of a prompt has the seed after it; steps 0 and 1 of 3 are before 0.4.
    alone = pipe("the dog", n=1, use=[AttentionMaps(end=0.4)], **{**RUN, "seed": RUN["seed"] + 2})
    torch.testing.assert_close(maps[2]["dog"], alone.outputs["attention-maps"]["maps"][0]["dog"])
    later = pipe("the dog", use=[AttentionMaps(start=0.4)], **{**RUN, "seed": RUN["seed"] + 2})
    assert not torch.allclose(maps[2]["dog"], later.outputs["attention-maps"]["maps"][0]["dog"])


def test_a_prompt_without_words_has_no_maps(pipe):
    maps = pipe(["", "a cat"], use=[AttentionMaps()], **RUN).outputs["attention-maps"]["maps"]
    assert [list(of_image) for of_image in maps] == [[], ["cat"]]


def test_an_overlay_is_the_picture_under_the_map_and_large_enough_to_see(pipe):
    result = pipe("a cat", use=[AttentionMaps()], **RUN)
    (overlays,) = result.outputs["attention-maps"]["overlays"]
    assert list(overlays) == ["cat"]
    assert result.images[0].size == (32, 32)
    assert overlays["cat"].width == 256


def test_an_overlay_is_brightest_where_the_map_is_highest():
    from mezzotint_blocks.seeing.heat import overlay
    from PIL import Image

    heat = torch.zeros(8, 8)
    heat[2, 5] = 1
    picture = overlay(Image.new("RGB", (64, 64), "grey"), heat).convert("L")
    brightest = max(range(64), key=lambda k: picture.getpixel((k % 8 * 32 + 16, k // 8 * 32 + 16)))
    assert divmod(brightest, 8) == (2, 5)
    assert overlay(Image.new("RGB", (64, 64)), torch.ones(8, 8)).size == (256, 256)


def test_a_word_that_the_prompt_lacks_is_refused_before_the_first_step(pipe):
    with pytest.raises(RequestError, match="the prompt 'a cat' has no word 'dog'; there are a, cat"):
        pipe("a cat", use=[AttentionMaps(words=["dog"])], **RUN)


def test_a_range_without_a_step_is_refused(pipe):
    with pytest.raises(RequestError, match="none of 3 steps lies between start=0.4 and end=0.5"):
        pipe("a cat", use=[AttentionMaps(start=0.4, end=0.5)], **RUN)


def test_maps_are_refused_where_another_encoder_reads_the_prompt(pipe):
    class Reads(Extension, name="reads"):
        @hookimpl
        def encode_prompt(self, prompts):
            return None

    with pytest.raises(PlanError, match="attention-maps finds words .* and reads .* encodes the prompt"):
        pipe("a cat", use=[AttentionMaps(), Reads()], **RUN)


@pytest.mark.parametrize(
    ("tokens", "size", "grid"), [(256, (16, 16), (16, 16)), (16, (8, 8), (4, 4)), (15, (9, 5), (5, 3))]
)
def test_the_grid_of_a_layer_follows_from_the_latents(tokens, size, grid):
    assert attention_grid(tokens, *size) == grid


def test_a_number_of_tokens_that_is_no_halving_is_an_error():
    with pytest.raises(ValueError, match="17 attention tokens are no halving of 16×16"):
        attention_grid(17, 16, 16)


def test_norms_are_those_of_what_leaves_the_block(pipe):
    seen = []
    handle = pipe.unet.mid_block.register_forward_hook(
        lambda module, args, output: seen.append(output.clone())
    )
    outputs = pipe("a cat", use=[BlockNorms(blocks=["mid", "up.*"])], **RUN).outputs["block-norms"]
    handle.remove()
    rows = [row for row in outputs["rows"] if row["block"] == "mid"]
    assert [(row["step"], row["pass"]) for row in rows] == [
        (step, name) for step in range(3) for name in ("negative", "positive")
    ]
    for row in rows:
        values = seen[row["step"]][0 if row["pass"] == "negative" else 1]
        assert row["rms"] == pytest.approx(float(values.square().mean().sqrt()), rel=1e-5)
        assert row["mean"] == pytest.approx(float(values.mean()), abs=1e-6)
        assert row["largest"] == pytest.approx(float(values.abs().max()), rel=1e-5)
    assert len(list(csv.DictReader(io.StringIO(outputs["table"].text)))) == 3 * 3 * 2


def test_features_are_those_of_the_positive_pass_at_the_chosen_steps(pipe):
    seen = []
    handle = pipe.unet.up_blocks[1].register_forward_hook(
        lambda module, args, output: seen.append(output.clone())
    )
    outputs = pipe("a cat", n=2, use=[FeatureMaps(blocks="up.1", steps=[0, 2])], **RUN).outputs[
        "feature-maps"
    ]
    handle.remove()
    assert list(outputs["features"]["up.1"]) == [0, 2]
    assert torch.equal(outputs["features"]["up.1"][2], seen[2][2:])
    assert len(outputs["sheets"]) == 2


def test_principal_components_are_the_same_up_to_a_rotation_of_the_channels():
    from mezzotint_blocks.seeing.feature_maps import principal_components

    features = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [9.0, 3, 1]
    ).view(3, 1, 1)
    (picture,) = principal_components({0: features}).values()
    order = torch.tensor([2, 0, 1])
    (permuted,) = principal_components({0: features[order]}).values()
    assert picture.tobytes() == permuted.tobytes()
    assert picture.size == (4, 4)


class Doubles(Extension, name="doubles"):
    """Doubles the prediction; looks at the latents."""

    @hookimpl
    def prediction(self, prediction):
        return prediction * 2

    @hookimpl
    def step_end(self, latents):
        return None


def test_the_ledger_says_who_changed_what_by_how_much(pipe):
    ledger = pipe("a cat", use=[Trace(), Doubles(), FreeU(b1=1, b2=1, s1=1, s2=0)], **RUN).outputs["trace"][
        "ledger"
    ]
    totals = {(row["extension"], row["hook_point"]): row for row in ledger.totals()}
    doubled = totals["doubles", "prediction"]
    assert doubled["calls"] == 3
    assert doubled["relative_change"] == pytest.approx(1.0)
    assert totals["doubles", "step_end"]["note"] == "changed nothing"
    assert totals["freeu", "unet_block_input"]["relative_change"] > 0
    assert {entry.step for entry in ledger.entries if entry.point == "prediction"} == {0, 1, 2}
    assert {entry.place for entry in ledger.entries if entry.label == "freeu"} == {
        f"up.{i}.resnets.{j}" for i in range(2) for j in range(2)
    }
    assert all(entry.label != "trace" for entry in ledger.entries)


def test_the_forms_of_the_ledger_agree(pipe):
    outputs = pipe("a cat", use=[Trace(), Doubles()], **RUN).outputs["trace"]
    lines = list(csv.DictReader(io.StringIO(outputs["calls"].text)))
    assert len(lines) == len(outputs["ledger"].entries)
    assert {line["relative_change"] for line in lines if line["hook_point"] == "prediction"} == {"1"}
    assert "changed nothing" in outputs["table"].text
    chrome = json.loads(outputs["chrome"].text)["traceEvents"]
    lanes = {event["tid"]: event["args"]["name"] for event in chrome if event["ph"] == "M"}
    by_lane = {
        name: [e for e in chrome if e["ph"] == "X" and lanes[e["tid"]] == name] for name in lanes.values()
    }
    assert [event["name"] for event in by_lane["steps"]] == ["step 0", "step 1", "step 2"]
    assert len(by_lane["doubles"]) == len(lines)
    assert len(by_lane["U-Net blocks"]) == 3 * 5
    for event in by_lane["U-Net blocks"]:
        inside = [
            s
            for s in by_lane["steps"]
            if s["ts"] <= event["ts"] <= event["ts"] + event["dur"] <= s["ts"] + s["dur"]
        ]
        assert len(inside) == 1


def test_what_comes_after_the_loop_is_in_the_ledger(pipe):
    class Zoom(Extension, name="zoom"):
        @hookimpl
        def images(self, images):
            return [image.rotate(180) for image in images]

    outputs = pipe("a cat", use=[Trace(), Zoom()], **RUN).outputs["trace"]
    assert [entry.label for entry in outputs["ledger"].entries] == ["zoom"]
    assert "zoom" in outputs["table"].text
