"""Prompt syntax on a model: the web UI's formulas written out, compel itself, and the plain encoder."""

from __future__ import annotations

import pytest
import torch
from compel import Compel
from embeddings_told import plain, told
from mezzotint.errors import RequestError
from mezzotint.testing import save_tiny_pixel_model, tiny_pipeline
from mezzotint_conditioning import CLIP, PromptSyntax

A1111 = PromptSyntax()
COMPEL = PromptSyntax("compel")


@pytest.mark.parametrize("use", [A1111, COMPEL, CLIP()], ids=["a1111", "compel", "clip"])
@pytest.mark.parametrize("prompt", ["a cat", "", ["a cat", "a dog: x"]])
def test_text_without_syntax_has_the_bits_of_the_plain_encoder(pipe, unchanged, use, prompt):
    options = {"steps": 2, "seed": 3, "negative": "ugly, bad", "n": 2}
    assert torch.equal(pipe(prompt, use=[use], **options).latents, pipe(prompt, **options).latents)


def encode(pipe, ids):
    """CLIP on the ids of one chunk, with start, end and padding put around them by hand."""
    tokenizer = pipe.tokenizer
    row = [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
    row += [tokenizer.pad_token_id] * (tokenizer.model_max_length - len(row))
    with torch.no_grad():
        return pipe.text_encoder(torch.tensor([row]))[0]


def ids(pipe, text):
    return pipe.tokenizer(text, add_special_tokens=False).input_ids


def weighted(pipe, parts, emphasis):
    """The web UI's formula, from (text, weight) by hand: multiply, and for `original` restore the mean."""
    tokens, weights = [], [1.0]
    for text, weight in parts:
        tokens += ids(pipe, text)
        weights += [weight] * len(ids(pipe, text))
    weights += [1.0] * (pipe.tokenizer.model_max_length - len(weights))
    z = encode(pipe, tokens)
    if emphasis == "ignore":
        return z
    result = z * torch.tensor(weights)[None, :, None]
    return result * (z.mean() / result.mean()) if emphasis == "original" else result


@pytest.mark.parametrize("emphasis", ["original", "no-norm", "ignore"])
def test_weights_are_the_web_uis_formula(pipe, unchanged, emphasis):
    found = told(pipe, "a (cat:1.3) [on] it", [PromptSyntax(emphasis=emphasis)])[0]["positive"]
    parts = [("a ", 1.0), ("cat", 1.3), (" ", 1.0), ("on", 1 / 1.1), (" it", 1.0)]
    torch.testing.assert_close(found, weighted(pipe, parts, emphasis), atol=1e-6, rtol=1e-6)


def test_an_image_does_not_depend_on_the_weights_of_its_neighbours(pipe):
    alone = told(pipe, "a (cat:1.3)", [A1111])[0]["positive"]
    beside = told(pipe, ["a (cat:1.3)", "(dog:3)"], [A1111])[0]["positive"]
    torch.testing.assert_close(beside[:1], alone)
    assert torch.equal(
        told(pipe, ["a b", "(dog:3)"], [A1111])[0]["positive"][:1],
        told(pipe, ["a b", "c"])[0]["positive"][:1],
    )


@pytest.mark.parametrize("use", [A1111, CLIP()], ids=["a1111", "clip"])
def test_long_prompts_are_chunks_and_the_negative_is_filled_up(pipe, unchanged, use):
    text = "a very long prompt about dogs"
    tokens = ids(pipe, text)
    length = pipe.tokenizer.model_max_length - 2
    expected = torch.cat(
        [encode(pipe, tokens[at : at + length]) for at in range(0, len(tokens), length)], dim=1
    )
    found = told(pipe, text, [use], negative="ugly")[0]
    torch.testing.assert_close(found["positive"], expected)
    empty = encode(pipe, [])
    chunks = [encode(pipe, ids(pipe, "ugly")), *[empty] * (expected.shape[1] // empty.shape[1] - 1)]
    torch.testing.assert_close(found["negative"], torch.cat(chunks, dim=1))


def test_clip_can_cut_like_the_plain_encoder(pipe):
    text = "a very long prompt about dogs"
    found = told(pipe, text, [CLIP(chunks=False)])[0]["positive"]
    assert torch.equal(found, plain(pipe, text))


def test_clip_says_what_it_cuts_off_once_for_each_prompt(pipe, caplog):
    long = "a very long prompt about dogs and cats"
    pipe(["a", long], steps=1, seed=1, use=[CLIP(chunks=False)])
    (record,) = caplog.records
    assert record.getMessage() == (
        "the prompt is too long for the text encoder; cut off: 't about dogs and cats'"
    )
    caplog.clear()
    pipe(long, steps=1, seed=1, use=[CLIP()])
    assert not caplog.records


def test_break_begins_a_chunk(pipe):
    found = told(pipe, "cat BREAK dog", [A1111])[0]["positive"]
    torch.testing.assert_close(found, torch.cat([encode(pipe, ids(pipe, w)) for w in ("cat", "dog")], dim=1))


def test_editing_and_alternation_step_by_step(pipe, unchanged):
    steps = told(pipe, "a [b:c:2] d", [A1111], negative="[x|y]", n=2)
    for step, (positive, negative) in enumerate(
        [("a b d", "x"), ("a b d", "y"), ("a c d", "x"), ("a c d", "y")]
    ):
        torch.testing.assert_close(steps[step]["positive"], plain(pipe, positive).expand(2, -1, -1))
        torch.testing.assert_close(steps[step]["negative"], plain(pipe, negative).expand(2, -1, -1))


def test_a_negative_prompt_of_the_same_text_changes_too(pipe):
    steps = told(pipe, "[a:b:2]", [A1111], negative="[a:b:2]")
    assert all(torch.equal(step["positive"], step["negative"]) for step in steps)


def test_editing_with_a_solver_of_two_evaluations_a_step_counts_evaluations(pipe):
    from diffusers import HeunDiscreteScheduler

    heun = HeunDiscreteScheduler.from_config(pipe.scheduler.config)
    steps = told(pipe, "[a:b:0.5]", [A1111], steps=4, scheduler=heun)
    switched = [torch.allclose(step["positive"], plain(pipe, "b")) for step in steps]
    assert switched == [False] * 3 + [True] * 4


def test_a_variant_that_is_longer_makes_all_steps_longer(pipe):
    steps = told(pipe, "[a:a very long prompt about dogs:2]", [A1111])
    shapes = {tuple(each.shape) for step in steps for each in step.values()}
    assert len(shapes) == 1
    assert shapes.pop()[1] > pipe.tokenizer.model_max_length


@pytest.mark.parametrize(
    "prompt",
    [
        "a (cat)1.3 b",
        "a cat++ b--",
        "a (big (cat)1.2)0.7",
        '("cat", "dog").blend(0.7, 0.3)',
        '("a", "b").and()',
    ],
)
def test_compel_syntax_is_what_compel_makes(pipe, unchanged, prompt):
    library = Compel(tokenizer=pipe.tokenizer, text_encoder=pipe.text_encoder, truncate_long_prompts=False)
    with torch.no_grad():
        expected = library(prompt)
    found = told(pipe, prompt, [COMPEL], negative="ugly")[0]
    assert torch.equal(found["positive"], expected)
    assert torch.equal(found["negative"][:, : pipe.tokenizer.model_max_length], plain(pipe, "ugly"))
    assert found["negative"].shape == found["positive"].shape


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ('("a", "b").blend(1)', "compel cannot read the prompt .*mismatched prompts/weights"),
        ("a cat.swap(dog)", r"uses .swap\(\), which compel does not carry out"),
    ],
)
def test_what_compel_cannot_do_is_one_sentence(pipe, unchanged, prompt, message):
    with pytest.raises(RequestError, match=message):
        pipe(prompt, steps=1, use=[COMPEL])


def test_compel_reads_each_prompt_once_as_it_is_slow(pipe, monkeypatch):
    read = []
    parse = Compel.parse_prompt_string
    monkeypatch.setattr(Compel, "parse_prompt_string", lambda self, text: (read.append(text), parse(text))[1])
    told(pipe, "a very++ long prompt about dogs", [COMPEL], negative="bad--")
    assert sorted(read) == ["a very++ long prompt about dogs", "bad--"]


def test_a_prompt_of_another_extension_cannot_change_over_the_steps(pipe):
    from mezzotint_conditioning import PromptSchedule

    with pytest.raises(RequestError, match=r"prompt '\[a\|b\]' changes over the steps"):
        pipe("x", steps=2, use=[A1111, PromptSchedule({0.5: "[a|b]"})])
    found = told(pipe, "x", [A1111, PromptSchedule({0.5: "(a:1.3) b"})])
    expected = weighted(pipe, [("a", 1.3), (" b", 1.0)], "original")
    torch.testing.assert_close(found[-1]["positive"], expected, atol=1e-6, rtol=1e-6)


def test_it_is_for_clip(tmp_path):
    pixels = tiny_pipeline(save_tiny_pixel_model(tmp_path / "model"))
    with pytest.raises(
        RequestError, match="prompt-syntax is for CLIP text encoders; this model has T5EncoderModel"
    ):
        pixels("a", steps=1, use=[A1111])
    from mezzotint.errors import PlanError

    with pytest.raises(
        PlanError, match="encode_prompt takes one extension, and two claim it: clip .* and prompt-syntax"
    ):
        pixels.plan(use=[A1111, CLIP()])


def test_weights_that_cannot_be_restored_are_one_sentence(pipe):
    with pytest.raises(RequestError, match="weights make embeddings that are not finite"):
        pipe(f"(a:{'9' * 60})", steps=1, use=[PromptSyntax(emphasis="no-norm")])


def test_what_prompt_syntax_reads_is_not_said_to_be_plain_words(pipe, caplog):
    text = "a (red:1.2) [cat:dog:0.5] BREAK a bird"
    pipe(text, steps=1)
    assert "plain words" in caplog.text
    caplog.clear()
    pipe(text, steps=1, use=[PromptSyntax()])
    assert not caplog.records
