"""Clip skip against the hidden states of the whole encoder."""

from __future__ import annotations

import copy

import pytest
import torch
from embeddings_told import told
from mezzotint.errors import RequestError
from mezzotint.testing import save_tiny_pixel_model, tiny_pipeline
from mezzotint_conditioning import ClipSkip, PromptSyntax


@pytest.mark.parametrize("layers", [0, 1])
def test_it_is_the_hidden_states_of_an_earlier_layer_with_the_final_norm(pipe, unchanged, layers):
    tokenizer = pipe.tokenizer
    ids = tokenizer(
        ["a cat"], padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt"
    ).input_ids
    # A copy: transformers leaves hooks in a model that was asked for its hidden states.
    encoder = copy.deepcopy(pipe.text_encoder)
    model = getattr(encoder, "text_model", encoder)
    with torch.no_grad():
        states = encoder(ids, output_hidden_states=True).hidden_states
        # diffusers: prompt_embeds[-1][-(clip_skip + 1)], then the final layer norm.
        expected = model.final_layer_norm(states[-(layers + 1)])
    found = told(pipe, "a cat", [ClipSkip(layers)])[0]["positive"]
    assert torch.equal(found, expected)


def test_it_goes_with_prompt_syntax(pipe, unchanged):
    alone = told(pipe, "a cat", [ClipSkip()])[0]["positive"]
    assert torch.equal(told(pipe, "a cat", [ClipSkip(), PromptSyntax()])[0]["positive"], alone)
    assert not torch.equal(told(pipe, "a (cat:1.3)", [ClipSkip(), PromptSyntax()])[0]["positive"], alone)


def test_it_leaves_at_least_one_layer(pipe, unchanged):
    with pytest.raises(
        RequestError, match="layers=2 leaves nothing of a text encoder with 2 layers; at most 1"
    ):
        pipe("a", steps=1, use=[ClipSkip(2)])


def test_it_is_for_clip(tmp_path):
    with pytest.raises(
        RequestError, match="clip-skip is for CLIP text encoders; this model has T5EncoderModel"
    ):
        tiny_pipeline(save_tiny_pixel_model(tmp_path / "model"))("a", steps=1, use=[ClipSkip()])
