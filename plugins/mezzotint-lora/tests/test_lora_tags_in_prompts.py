"""`<lora:name:0.8>` in a prompt: parsed, taken out, unknown names an error, other text untouched."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lora_oracle import LINEAR, random_lows, unchanged, write_kohya, write_peft
from mezzotint import MezzotintError
from mezzotint_lora import LoRA, LoRATags
from mezzotint_lora.tags import Tag, find, list_folder, parse
from mezzotint_training.outputs import NOT_FOR_TRAINING

RUN = {"steps": 2, "seed": 1}


@pytest.fixture
def loras(pipe, tmp_path):
    folder = tmp_path / "loras"
    (folder / "styles").mkdir(parents=True)
    write_kohya(folder / "line.safetensors", random_lows(pipe.unet, [LINEAR], [4.0]))
    write_kohya(folder / "styles" / "ink.safetensors", random_lows(pipe.unet, [LINEAR], [4.0], seed=1))
    write_peft(folder / "chalk", random_lows(pipe.unet, [LINEAR], [4.0], seed=2))
    return folder


@pytest.mark.parametrize(
    ("prompt", "text", "tags"),
    [
        ("a cat <lora:line:0.8>", "a cat", [Tag("line", 0.8, 0.8)]),
        ("a <lora:line> cat", "a cat", [Tag("line", 1, 1)]),
        ("<lora:a:0.8:0.5>a cat", "a cat", [Tag("a", 0.8, 0.5)]),
        ("<lora:a:te=0.2:unet=-1> a", "a", [Tag("a", 0.2, -1)]),
        ("a <lora:a:0.2:unet=1>, b <lyco:b:2>", "a, b", [Tag("a", 0.2, 1), Tag("b", 2, 2)]),
        ("a <LoRA:a:0.2>", "a", [Tag("a", 0.2, 0.2)]),
        ("a <hypernet:x:1> cat", "a <hypernet:x:1> cat", []),
        ("  a  < lora:x > ", "  a  < lora:x > ", []),
    ],
)
def test_a_prompt_is_taken_apart(prompt, text, tags):
    assert parse(prompt) == (text, tags)


@given(st.text())
def test_a_text_without_tags_is_the_same_object(text):
    if "<lora:" not in text and "<lyco:" not in text:
        assert parse(text)[0] is text


@pytest.mark.parametrize("name", ["line", "ink", "styles/ink", "chalk"])
def test_a_tag_does_what_the_extension_does(pipe, loras, name):
    path = {"line": "line.safetensors", "chalk": "chalk"}.get(name, "styles/ink.safetensors")
    expected = pipe("a cat", use=LoRA(loras / path, 0.5), **RUN).latents
    with unchanged(pipe):
        result = pipe(f"a cat <lora:{name}:0.5>", use=LoRATags(loras), **RUN)
    assert torch.equal(result.latents, expected)
    assert result.recipe["prompt"] == ["a cat"]
    assert "lora " in result.plan.explain()


def test_a_prompt_without_tags_is_made_as_without_the_extension(pipe, loras):
    plain = pipe("a <cat:1>", **RUN)
    tagged = pipe("a <cat:1>", use=LoRATags(loras), **RUN)
    assert torch.equal(plain.latents, tagged.latents)
    assert tagged.recipe["prompt"] == ["a <cat:1>"]


def test_tags_and_extensions_add_up(pipe, loras):
    both = pipe("a", use=[LoRA(loras / "line.safetensors", 0.5), LoRA(loras / "chalk", -1)], **RUN).latents
    mixed = pipe("a <lora:chalk:-1>", use=[LoRA(loras / "line.safetensors", 0.5), LoRATags(loras)], **RUN)
    assert torch.equal(mixed.latents, both)


def test_it_is_replayed_from_the_recipe(pipe, loras):
    import mezzotint

    result = pipe("a cat <lora:line:0.5>", use=LoRATags(loras), **RUN)
    assert torch.equal(mezzotint.replay(result.recipe, pipe=pipe).latents, result.latents)


def test_tags_are_read_at_every_run_inside_using(pipe, loras):
    plain = pipe("a", **RUN).latents
    with pipe.using(LoRATags(loras)):
        first = pipe("a <lora:line>", **RUN).latents
        assert torch.equal(pipe("a", **RUN).latents, plain)
        assert torch.equal(pipe("a <lora:line>", **RUN).latents, first)
    assert not torch.equal(first, plain)


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("a <lora:lime>", "no LoRA named 'lime'; did you mean line?"),
        ("a <lora:line:strong>", "the weight 'strong' is no number"),
        ("a <lora:line:nan>", "the weight 'nan' is no number"),
        ("a <lora:>", "is not understood"),
        ("a <lora:line:1:dyn=4>", "has dyn=, which is not supported"),
        (["a <lora:line>", "b"], "name different LoRAs"),
    ],
)
def test_a_tag_that_cannot_be_followed_is_a_sentence(pipe, loras, prompt, sentence):
    with unchanged(pipe), pytest.raises(MezzotintError) as caught:
        pipe(prompt, use=LoRATags(loras), **RUN)
    assert sentence in str(caught.value)


def test_a_tag_in_the_negative_prompt_is_a_sentence(pipe, loras):
    with pytest.raises(MezzotintError, match="has no effect; put it in the prompt"):
        pipe("a", negative="<lora:line>", use=LoRATags(loras), **RUN)


def test_two_files_of_one_name_need_a_path(pipe, loras):
    (loras / "more").mkdir()
    for folder in ("styles", "more"):
        (loras / folder / "wave.safetensors").write_bytes((loras / "line.safetensors").read_bytes())
    with pytest.raises(MezzotintError, match="could be .* or .*; write its path below"):
        pipe("a <lora:wave>", use=LoRATags(loras), **RUN)
    assert pipe("a <lora:styles/wave>", use=LoRATags(loras), **RUN).images


def test_a_file_at_the_top_comes_before_one_of_its_name_further_down(loras):
    (loras / "styles" / "line.safetensors").write_bytes(b"")
    known = list_folder(loras)
    assert find("line", known, loras) == loras / "line.safetensors"
    assert find("styles/line", known, loras) == loras / "styles" / "line.safetensors"


def test_checkpoints_of_a_training_have_no_name_but_their_path(loras):
    checkpoint = loras / "styles" / "ink-training" / "checkpoints" / "step-000004" / "ink.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"")
    (loras / "styles" / "ink-training" / NOT_FOR_TRAINING).touch()
    known = list_folder(loras)
    assert find("ink", known, loras) == loras / "styles" / "ink.safetensors"
    path = "styles/ink-training/checkpoints/step-000004/ink"
    assert find(path, known, loras) == checkpoint
    (loras / "styles" / "ink.safetensors").unlink()
    with pytest.raises(MezzotintError, match=f"'ink' is a checkpoint of a training; .*, such as {path}$"):
        find("ink", list_folder(loras), loras)


def test_a_folder_that_is_not_there_is_a_sentence(pipe, tmp_path):
    with pytest.raises(MezzotintError, match="there is no such folder of LoRAs"):
        pipe("a <lora:line>", use=LoRATags(tmp_path / "nowhere"), **RUN)


def test_a_tag_that_nobody_reads_is_said(pipe, loras, caplog):
    pipe("a <lora:line:0.5>", **RUN)
    assert "'<lora:line:0.5>' (a LoRA tag): plain words" in caplog.text
    caplog.clear()
    pipe("a <lora:line:0.5>", use=LoRATags(loras), **RUN)
    assert "plain words" not in caplog.text
