"""The T5 encoder as an extension, on a model with T5 and beside another."""

from __future__ import annotations

import pytest
import torch
from mezzotint.errors import ModelError, RequestError
from mezzotint.testing import save_tiny_pixel_model, tiny_pipeline
from mezzotint_conditioning import CLIP, T5, Blend, PromptEmbeds, PromptSchedule


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_pixel_model(tmp_path_factory.mktemp("if") / "model")


@pytest.fixture(scope="module")
def pixels(folder):
    return tiny_pipeline(folder)


OPTIONS = {"steps": 2, "seed": 1, "negative": "ugly"}


def test_without_options_it_is_what_the_model_does_bit_for_bit(pixels):
    expected = pixels(" A Cat ", **OPTIONS).latents
    assert torch.equal(pixels(" A Cat ", use=[T5()], **OPTIONS).latents, expected)


def test_another_folder_is_another_encoder(pixels, folder, tmp_path):
    expected = pixels("a cat", **OPTIONS).latents
    assert torch.equal(pixels("a cat", use=[T5(folder)], **OPTIONS).latents, expected)
    other = save_tiny_pixel_model(tmp_path / "other", seed=5)
    assert not torch.equal(pixels("a cat", use=[T5(other)], **OPTIONS).latents, expected)


def test_the_encoder_does_not_attend_to_padding(pixels):
    short = pixels("a cat", use=[T5(tokens=20)], **OPTIONS)
    seen = []
    handle = pixels.text_encoder.register_forward_hook(lambda m, args, out: seen.append(out[0]))
    for tokens in (20, 40):
        pixels("a cat", steps=1, seed=1, guidance=1, use=[T5(tokens=tokens)])
    handle.remove()
    words = len(pixels.tokenizer("a cat").input_ids)
    torch.testing.assert_close(seen[0][:, :words], seen[1][:, :words])
    assert short.latents.shape == (1, 3, 16, 16)


def test_with_mask_padding_the_unet_does_not_either(pipe, folder):
    # A U-Net in the shape of Stable Diffusion: IF's reads the text a second way, beside attention.
    masked = [pipe("a cat", use=[T5(folder, t, mask_padding=True)], **OPTIONS).latents for t in (20, 40)]
    torch.testing.assert_close(*masked, atol=1e-4, rtol=1e-4)
    open_ = [pipe("a cat", use=[T5(folder, t)], **OPTIONS).latents for t in (20, 40)]
    assert not torch.allclose(*open_, atol=1e-2)


def test_the_mask_goes_with_the_prompt_that_a_schedule_or_a_blend_puts_there(pipe, folder):
    t5 = T5(folder, 20, mask_padding=True)
    options = {"steps": 2, "seed": 1, "guidance": 1}
    expected = pipe("a cat on a mat", use=[t5], **options).latents
    for other in (PromptSchedule({0: "a cat on a mat"}), Blend("a cat on a mat", 1)):
        assert torch.equal(pipe("a", use=[t5, other], **options).latents, expected), other
    for other in (PromptSchedule({0: "a"}), Blend("a", 1)):
        assert not torch.equal(pipe("a cat on a mat", use=[t5, other], **options).latents, expected), other


def test_longer_embeddings_go_with_a_mask_over_the_negative_prompt(pipe, folder):
    given = torch.randn(40, 32)
    t5 = T5(folder, 20, mask_padding=True)
    assert pipe("", use=[t5, PromptEmbeds(positive=given)], **OPTIONS).latents.isfinite().all()


def test_it_says_what_it_cuts_off(pixels, caplog):
    pixels("a cat", steps=1, seed=1, guidance=1, use=[T5(tokens=3)])
    assert [r.getMessage().partition(" has ")[0] for r in caplog.records] == ["the prompt"]
    assert "t5 takes 3; cut off: " in caplog.records[0].getMessage()


def test_t5_of_a_model_without_is_asked_for(tmp_path, pipe, pixels, folder):
    with pytest.raises(
        ModelError, match=r"this model's text encoder is CLIPTextModel; say where a T5 encoder is"
    ):
        pipe("a", steps=1, use=[T5()])
    with pytest.raises(
        ModelError, match=r"this model's text encoder is T5EncoderModel; say where a CLIP encoder is"
    ):
        pixels("a", steps=1, use=[CLIP()])
    with pytest.raises(ModelError, match="holds a model of type 't5'; the text encoder is a CLIPTextModel"):
        pipe("a", steps=1, use=[CLIP(folder)])
    with pytest.raises(ModelError, match=r"absent is no folder; the text encoder is one with config.json"):
        pipe("a", steps=1, use=[T5(tmp_path / "absent")])


def test_clip_from_the_models_own_folder_is_the_model(pipe, tiny_model):
    expected = pipe("a cat", **OPTIONS).latents
    assert torch.equal(pipe("a cat", use=[CLIP(tiny_model)], **OPTIONS).latents, expected)


def test_t5_on_a_unet_of_the_same_width(pipe, folder):
    # An SD-shaped U-Net takes any encoder of its width: 32 here, for both.
    assert pipe("a cat", use=[T5(folder)], **OPTIONS).latents.shape == (1, 4, 16, 16)


def test_cleaning_says_what_it_needs(pixels, monkeypatch):
    monkeypatch.setattr("diffusers.utils.is_ftfy_available", lambda: False)
    with pytest.raises(RequestError, match=r"pip install 'mezzotint-conditioning\[clean\]'"):
        pixels("a", steps=1, use=[T5(clean=True)])
