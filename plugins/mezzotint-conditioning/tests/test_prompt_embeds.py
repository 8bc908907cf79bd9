"""Embeddings in place of prompts, between prompts, and by part of the run."""

from __future__ import annotations

import math

import pytest
import torch
from embeddings_told import plain, told
from mezzotint.errors import ModelError, RequestError
from mezzotint_conditioning import Blend, PromptEmbeds, PromptSchedule, PromptSyntax, embed
from mezzotint_conditioning.interpolation import Interpolation, interpolate
from safetensors.torch import save_file


def test_what_embed_takes_is_what_a_run_is_told(pipe, unchanged):
    assert torch.equal(embed(pipe, "a cat"), plain(pipe, "a cat"))
    weighted = embed(pipe, "a (cat:1.3)", use=[PromptSyntax()])
    assert torch.equal(weighted, told(pipe, "a (cat:1.3)", [PromptSyntax()])[0]["positive"])


def test_embeddings_from_memory_and_from_a_file_are_the_prompts_run(pipe, tmp_path, unchanged):
    options = {"steps": 2, "seed": 1, "n": 2}
    expected = pipe("a cat", negative="ugly", **options).latents
    tensors = {"positive": embed(pipe, "a cat"), "negative": embed(pipe, "ugly")}
    assert torch.equal(pipe("x", use=[PromptEmbeds(**tensors)], **options).latents, expected)
    save_file(tensors, tmp_path / "cat.safetensors")
    assert torch.equal(
        pipe("x", use=[PromptEmbeds(tmp_path / "cat.safetensors")], **options).latents, expected
    )
    stock = {"prompt_embeds": tensors["positive"][0], "negative_prompt_embeds": tensors["negative"][0]}
    save_file(stock, tmp_path / "stock.safetensors")
    assert torch.equal(
        pipe("x", use=[PromptEmbeds(tmp_path / "stock.safetensors")], **options).latents, expected
    )


def test_rows_are_for_prompts_or_for_images(pipe):
    rows = torch.cat([plain(pipe, text) for text in ("a", "b", "c", "d")])
    by_prompt = told(pipe, ["x", "y"], [PromptEmbeds(positive=rows[:2])], n=2)[0]["positive"]
    assert torch.equal(by_prompt, rows[[0, 0, 1, 1]])
    by_image = told(pipe, ["x", "y"], [PromptEmbeds(positive=rows)], n=2)[0]["positive"]
    assert torch.equal(by_image, rows)


def test_longer_embeddings_make_the_other_pass_longer(pipe):
    two = torch.cat([plain(pipe, "a"), plain(pipe, "b")], dim=1)
    step = told(pipe, "x", [PromptEmbeds(positive=two)], negative="ugly")[0]
    assert torch.equal(step["negative"], torch.cat([plain(pipe, "ugly"), plain(pipe, "")], dim=1))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(1, 16, 48), r"positive has shape \(1, 16, 48\); this model takes \(tokens, 32\) or"),
        (torch.zeros(32), r"positive has shape \(32,\)"),
        (torch.full((16, 32), torch.nan), "positive has values that are not finite"),
        (torch.zeros(3, 16, 32), "has 3 rows; give 1, or one for each of 1 prompts or 2 images"),
        (torch.zeros(20, 32), "embeddings of 16 tokens go with multiples of 16, not with 20"),
    ],
)
def test_embeddings_that_do_not_fit_are_one_sentence(pipe, unchanged, tensor, message):
    with pytest.raises(RequestError, match=message):
        pipe("a", steps=1, n=2, use=[PromptEmbeds(positive=tensor)])


def test_a_file_of_another_kind_is_named(pipe, tmp_path):
    save_file({"lora_unet_x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(
        RequestError, match="other.safetensors holds lora_unet_x; prompt embeddings are named"
    ):
        pipe("a", steps=1, use=[PromptEmbeds(tmp_path / "other.safetensors")])
    with pytest.raises(ModelError, match="is missing; give a safetensors file"):
        pipe("a", steps=1, use=[PromptEmbeds(tmp_path / "absent.safetensors")])
    with pytest.raises(RequestError, match="give a file, or a tensor as positive or negative"):
        PromptEmbeds()
    with pytest.raises(RequestError, match=r"give a tensor .*, not str"):
        PromptEmbeds(positive="a cat")


def test_slerp_goes_along_the_arc_and_lerp_along_the_line():
    start, end = torch.tensor([[[2.0, 0.0]]]), torch.tensor([[[0.0, 4.0]]])
    third = torch.full((1, 1, 1), 1 / 3)
    expected = torch.tensor([[[math.cos(math.pi / 6), math.sin(math.pi / 6)]]]) * (2 + 2 / 3)
    torch.testing.assert_close(interpolate(start, end, third, Interpolation.SLERP), expected)
    torch.testing.assert_close(
        interpolate(start, end, third, Interpolation.LERP), torch.tensor([[[4 / 3, 4 / 3]]])
    )
    for other in (end, 3 * start, -start, torch.zeros_like(start)):
        assert interpolate(start, other, third, Interpolation.SLERP).isfinite().all()


@pytest.mark.parametrize("mode", list(Interpolation))
def test_a_blend_over_the_images_begins_and_ends_exactly(pipe, unchanged, mode):
    found = told(pipe, "a", [Blend("b", 0, until=1, mode=mode)], n=3)[0]["positive"]
    assert torch.equal(found[:1], plain(pipe, "a"))
    assert torch.equal(found[2:], plain(pipe, "b"))
    middle = interpolate(plain(pipe, "a"), plain(pipe, "b"), torch.full((1, 1, 1), 0.5), mode)
    torch.testing.assert_close(found[1:2], middle)


def test_a_blend_over_the_steps(pipe):
    steps = told(pipe, "a", [Blend("b", 0, until=1, along="steps", mode="lerp")], steps=5)
    for index, step in enumerate(steps):
        expected = torch.lerp(plain(pipe, "a"), plain(pipe, "b"), index / 4)
        torch.testing.assert_close(step["positive"], expected)


def test_a_blend_of_nothing_changes_no_bit(pipe, unchanged):
    options = {"steps": 2, "seed": 1, "n": 2}
    assert torch.equal(pipe("a", use=[Blend("b", 0)], **options).latents, pipe("a", **options).latents)


def test_a_schedule_switches_at_its_steps(pipe, unchanged):
    steps = told(pipe, "a", [PromptSchedule({0.5: "b", 0.75: "c"})], n=2)
    for step, text in zip(steps, "aabc", strict=True):
        assert torch.equal(step["positive"], plain(pipe, text).expand(2, -1, -1))
        assert torch.equal(step["negative"], plain(pipe, "").expand(2, -1, -1))


def test_a_schedule_of_the_negative_prompt_that_fades(pipe):
    steps = told(pipe, "a", [PromptSchedule({0.25: "b"}, fade=0.5, negative=True)], negative="u")
    for step, share in zip(steps, (0, 0, 0.5, 1), strict=True):
        expected = torch.lerp(plain(pipe, "u"), plain(pipe, "b"), share)
        torch.testing.assert_close(step["negative"], expected)
        assert torch.equal(step["positive"], plain(pipe, "a"))


def test_a_longer_prompt_in_a_schedule_makes_every_step_as_long(pipe):
    long = PromptSchedule({0.5: "a very long prompt about dogs"})
    steps = told(pipe, "a", [long, PromptSyntax()])
    assert len({each.shape for step in steps for each in step.values()}) == 1


def test_schedules_that_cannot_be_meant_are_refused():
    with pytest.raises(RequestError, match="1 is no fraction of the steps: from 0 to below 1"):
        PromptSchedule({1.0: "a"})
    with pytest.raises(RequestError, match="give at least one prompt"):
        PromptSchedule({})
    with pytest.raises(
        RequestError, match=r"""give fractions with their prompts, such as \{"0.5": "a wolf"\}"""
    ):
        PromptSchedule("0.5=a ghost")


def test_the_chain_is_embeddings_then_schedule_then_blend(pipe):
    embeds, schedule, blend = (
        PromptEmbeds(positive=plain(pipe, "e")),
        PromptSchedule({0.5: "s"}),
        Blend("b", 1),
    )
    for use in ([embeds, schedule, blend], [blend, schedule, embeds]):
        plan = pipe.plan(use=[*use, PromptSyntax()])
        order = [row["extension"] for row in plan.rows() if row["point"] == "conditioning"]
        assert order == ["prompt-syntax", "prompt-embeds", "prompt-schedule", "blend"]
    steps = told(pipe, "a", [embeds, schedule])
    assert torch.equal(steps[0]["positive"], plain(pipe, "e"))
    assert torch.equal(steps[-1]["positive"], plain(pipe, "s"))


def test_embed_takes_what_a_run_begins_with(pipe):
    assert torch.equal(embed(pipe, "[cat:dog:0.5]", use=[PromptSyntax()]), plain(pipe, "cat"))


def test_embeddings_of_any_length_for_both_prompts(pipe, unchanged):
    """The prompt that they replace has no say."""
    short = torch.randn(5, 32)
    both = told(pipe, "a", [PromptEmbeds(positive=short, negative=short)])[0]
    assert both["positive"].shape == both["negative"].shape == (1, 5, 32)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [(torch.zeros(0, 32), "has shape"), (torch.zeros(5, 32, dtype=torch.complex64), "complex")],
)
def test_embeddings_of_nothing_and_of_complex_numbers_are_refused(pipe, tensor, message):
    with pytest.raises(RequestError, match=message):
        pipe("a", steps=1, use=[PromptEmbeds(positive=tensor)])


def test_a_blend_over_one_image_is_refused(pipe):
    with pytest.raises(RequestError, match="--batch-size"):
        pipe("a", steps=1, use=[Blend("b", 0, until=1)])


def test_prompts_that_never_come_are_a_warning(pipe, caplog):
    pipe("a", steps=4, use=[PromptSchedule({0.9: "b"})])
    assert "'b' begins after the last of 4 steps" in caplog.text
