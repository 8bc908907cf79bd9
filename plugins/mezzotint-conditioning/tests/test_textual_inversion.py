"""Textual inversion against diffusers' load_textual_inversion, and files that do not fit."""

from __future__ import annotations

import pickle

import diffusers
import pytest
import torch
from embeddings_told import plain, told
from mezzotint.errors import ModelError, RequestError
from mezzotint.testing import fingerprint
from mezzotint_conditioning import ClipSkip, PromptSyntax, TextualInversion
from safetensors.torch import save_file


def vectors(count, seed=0, width=32):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def diffusers_file(tmp_path):
    def write(token, tensor):
        save_file({token: tensor}, tmp_path / "learned.safetensors")
        return tmp_path / "learned.safetensors"

    return write


@pytest.fixture(scope="module")
def stock_folder(tiny_model):
    return tiny_model


def stock(stock_folder):
    stock = diffusers.StableDiffusionPipeline.from_pretrained(stock_folder, safety_checker=None)
    stock.set_progress_bar_config(disable=True)
    return stock


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("prompt", ["a <cat> toy", "<cat>", "a <cat>, b<cat>c"])
def test_a_diffusers_file_gives_diffusers_latents_bit_for_bit(
    pipe, stock_folder, diffusers_file, unchanged, count, prompt
):
    file = diffusers_file("<cat>", vectors(count)[0] if count == 1 else vectors(count))
    other = stock(stock_folder)
    other.load_textual_inversion(str(file))
    expected = other(
        prompt,
        num_inference_steps=2,
        generator=[torch.Generator("cpu").manual_seed(1)],
        output_type="latent",
        negative_prompt="ugly",
    ).images
    found = pipe(prompt, steps=2, seed=1, guidance=7.5, negative="ugly", use=[TextualInversion(file)]).latents
    assert torch.equal(found, expected)


def test_the_web_uis_format_is_named_after_its_file(pipe, tmp_path, unchanged):
    save_file({"emb_params": vectors(2)}, tmp_path / "badhands.safetensors")
    use = TextualInversion(tmp_path / "badhands.safetensors")
    found = told(pipe, "a", [use], negative="badhands, x")[0]["negative"]
    # The vectors in place of the words' embeddings, by hand.
    pad, start, end = pipe.tokenizer.pad_token_id, pipe.tokenizer.bos_token_id, pipe.tokenizer.eos_token_id
    rest = pipe.tokenizer(", x", add_special_tokens=False).input_ids
    ids = [start, pad, pad, *rest, end]
    ids = torch.tensor([ids + [pad] * (pipe.tokenizer.model_max_length - len(ids))])
    table = pipe.text_encoder.get_input_embeddings()
    with torch.no_grad():
        embedded = table(ids)
        embedded[0, 1:3] = vectors(2)
        handle = table.register_forward_hook(lambda module, args, output: embedded)
        expected = pipe.text_encoder(ids)[0]
        handle.remove()
    torch.testing.assert_close(found, expected)


def test_text_without_the_word_keeps_every_bit(pipe, diffusers_file, unchanged):
    use = TextualInversion(diffusers_file("<cat>", vectors(2)))
    assert torch.equal(told(pipe, "a cat", [use])[0]["positive"], plain(pipe, "a cat"))


def test_a_word_of_letters_is_found_where_it_stands_alone(pipe, diffusers_file):
    use = TextualInversion(diffusers_file("art", vectors(2)))
    assert torch.equal(told(pipe, "a party", [use])[0]["positive"], plain(pipe, "a party"))
    assert not torch.equal(told(pipe, "an art", [use])[0]["positive"], plain(pipe, "an art"))


def test_several_go_together_and_with_syntax_in_any_order(pipe, tmp_path, unchanged):
    uses = []
    for name, count in (("<one>", 1), ("<two>", 2)):
        save_file({name: vectors(count, seed=count)}, tmp_path / f"{name[1:-1]}.safetensors")
        uses.append(TextualInversion(tmp_path / f"{name[1:-1]}.safetensors"))
    both = told(pipe, "<one> (<two>:1.2)", [*uses, PromptSyntax(), ClipSkip()])[0]["positive"]
    swapped = told(pipe, "<one> (<two>:1.2)", [ClipSkip(), *uses[::-1], PromptSyntax()])[0]["positive"]
    torch.testing.assert_close(both, swapped)
    assert not torch.allclose(
        both, told(pipe, "<one> (<two>:1.2)", [uses[0], PromptSyntax(), ClipSkip()])[0]["positive"]
    )


def test_compel_and_the_chunks_see_the_word(pipe, diffusers_file):
    use = TextualInversion(diffusers_file("<cat>", vectors(3)))
    expected = told(pipe, "a <cat>", [use])[0]["positive"]
    for syntax in ("a1111", "compel"):
        assert torch.equal(told(pipe, "a <cat>", [use, PromptSyntax(syntax)])[0]["positive"], expected)
    changed = told(pipe, "a (<cat>)1.4", [use, PromptSyntax("compel")])[0]["positive"]
    assert not torch.allclose(changed, expected)


def test_another_word_can_be_given(pipe, diffusers_file):
    file = diffusers_file("<cat>", vectors(2))
    expected = told(pipe, "a <cat>", [TextualInversion(file)])[0]["positive"]
    found = told(pipe, "a <dog>", [TextualInversion(file, token="<dog>")])[0]["positive"]
    assert torch.equal(found, expected)


def test_attached_over_several_runs_and_removed_after_an_error(pipe, diffusers_file):
    before = fingerprint(pipe)
    use = TextualInversion(diffusers_file("<cat>", vectors(2)))

    def stop(progress):
        raise KeyboardInterrupt

    with pipe.using(use):
        inside = pipe("a <cat>", steps=1, seed=1).latents
        with pytest.raises(KeyboardInterrupt):
            pipe("a <cat>", steps=2, seed=1, on_step=stop)
        assert torch.equal(pipe("a <cat>", steps=1, seed=1).latents, inside)
    assert fingerprint(pipe) == before


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"<cat>": torch.zeros(2, 768)},
            r"vectors of width 768 \(Stable Diffusion 1\); this text encoder takes 32",
        ),
        (
            {"clip_l": torch.zeros(1, 768), "clip_g": torch.zeros(1, 1280)},
            "for Stable Diffusion XL, with clip_g and clip_l",
        ),
        ({"a": torch.zeros(1, 32), "b": torch.zeros(1, 32)}, "is no textual inversion: it holds a, b"),
        ({"<cat>": torch.zeros(1, 2, 32)}, r"is no textual inversion: it holds \(1, 2, 32\)"),
        ({"<cat>": torch.full((1, 32), torch.nan)}, "<cat> has values that are not finite"),
        ({"<cat>": torch.zeros(76, 32)}, "has 76 vectors; a prompt has room for 75"),
    ],
)
def test_a_file_that_does_not_fit_is_one_sentence(pipe, tmp_path, unchanged, tensors, message):
    save_file(tensors, tmp_path / "wrong.safetensors")
    with pytest.raises(ModelError, match=message):
        pipe("a", steps=1, use=[TextualInversion(tmp_path / "wrong.safetensors")])


def test_a_pickle_is_refused_and_never_runs(pipe, tmp_path, unchanged):
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"string_to_param": 1}))
    with pytest.raises(ModelError, match=r"old.pt is a pickle"):
        pipe("a", steps=1, use=[TextualInversion(tmp_path / "old.pt")])
    with pytest.raises(ModelError, match=r"textual inversion .*absent.* is missing; give a safetensors file"):
        pipe("a", steps=1, use=[TextualInversion(tmp_path / "absent")])


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("a", "the tokenizer has the word 'a' already; give another with token="),
        ("two words", "one word without blanks, not 'two words'"),
    ],
)
def test_a_word_that_cannot_be_one_is_refused(pipe, diffusers_file, unchanged, token, message):
    use = TextualInversion(diffusers_file("<cat>", vectors(1)), token=token)
    with pytest.raises(RequestError, match=message):
        pipe("a", steps=1, use=[use])


def test_the_same_word_twice_is_refused(pipe, diffusers_file, unchanged):
    file = diffusers_file("<cat>", vectors(1))
    with pytest.raises(RequestError, match="the tokenizer has the word '<cat>' already"):
        pipe("a", steps=1, use=[TextualInversion(file), TextualInversion(file)])
