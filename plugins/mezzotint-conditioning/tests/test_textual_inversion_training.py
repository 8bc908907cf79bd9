"""Learning a word: the vectors alone change, the loss falls, an interrupted training goes on to the same bits."""

from __future__ import annotations

import pytest
import torch
from embeddings_told import plain, told
from mezzotint.testing import fingerprint, tiny_pipeline
from mezzotint_conditioning import TextualInversion
from mezzotint_training import DataError, TrainingError
from PIL import Image
from safetensors.torch import load_file

from mezzotint_conditioning.textual_inversion.training import (  # isort: skip
    TextualInversionSettings,
    attached_word,
    train_textual_inversion,
)


@pytest.fixture
def pipe(tiny_model):
    """One of its own: what training asks of transformers leaves marks in a module."""
    return tiny_pipeline(tiny_model)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, colour in enumerate(("red", "orange")):
        Image.new("RGB", (32, 32), colour).save(folder / f"{number}.png")
    return folder


def settings(**options):
    return TextualInversionSettings(
        **{"token": "<cat>", "steps": 4, "batch_size": 2, "tensorboard": False, "learning_rate": 0.05}
        | options
    )


def learn(pipe, pictures, path, *, resume=False, **options):
    return train_textual_inversion(pipe, pictures, path, settings(**options), resume=resume, quiet=True)


def test_the_vectors_alone_change_and_the_file_is_a_word(pipe, pictures, tmp_path):
    before = fingerprint(pipe)
    result = learn(pipe, pictures, tmp_path / "cat.safetensors", vectors=2, init="cat toy")
    assert fingerprint(pipe) == before
    assert result.finished
    tensors = load_file(result.path)
    assert set(tensors) == {"<cat>"}
    table = pipe.text_encoder.get_input_embeddings().weight
    start = table[pipe.tokenizer("cat toy", add_special_tokens=False).input_ids[:2]]
    assert 0 < (tensors["<cat>"] - start).abs().max() < 1
    found = told(pipe, "a <cat>", [TextualInversion(result.path)])[0]["positive"]
    assert not torch.allclose(found, plain(pipe, "a cat"))


def test_the_loss_falls(pipe, pictures, tmp_path):
    result = learn(
        pipe,
        pictures,
        tmp_path / "cat.safetensors",
        steps=20,
        learning_rate=0.3,
        validation=0.5,
        validate_every=10,
    )
    losses = [loss for _, loss in result.validation]
    assert losses[-1] < losses[0]


def test_the_same_seed_gives_the_same_bits(pipe, pictures, tmp_path):
    vectors = [
        load_file(learn(pipe, pictures, tmp_path / f"{name}.safetensors", seed=seed).path)["<cat>"]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(vectors[0], vectors[2])


def test_an_interrupted_training_goes_on_to_the_same_bits(pipe, pictures, tmp_path):
    whole = load_file(learn(pipe, pictures, tmp_path / "a.safetensors", steps=4).path)["<cat>"]
    learn(pipe, pictures, tmp_path / "b.safetensors", steps=2, save_every=2)
    resumed = learn(pipe, pictures, tmp_path / "b.safetensors", steps=4, resume=True)
    assert torch.equal(load_file(resumed.path)["<cat>"], whole)


def test_every_step_is_told(pipe, pictures, tmp_path):
    told = {}
    path = tmp_path / "cat.safetensors"
    train_textual_inversion(pipe, pictures, path, settings(), quiet=True, on_step=told.__setitem__)
    assert list(told) == [1, 2, 3, 4]
    assert all(loss > 0 for loss in told.values())


def test_pictures_without_a_caption_are_left_out_where_that_is_asked_for(pipe, pictures, tmp_path):
    with pytest.raises(DataError, match="no picture is left to train on"):
        learn(pipe, pictures, tmp_path / "cat.safetensors", missing_captions="skip")


def test_pictures_that_all_have_captions_need_no_other(pipe, pictures, tmp_path):
    for number in range(2):
        (pictures / f"{number}.txt").write_text("my <cat>")
    assert learn(pipe, pictures, tmp_path / "cat.safetensors").finished


def test_random_vectors_are_of_the_size_of_the_others(pipe):
    with attached_word(pipe, settings(vectors=40)) as word:
        ratio = (
            word.embedding.vectors.detach().std() / pipe.text_encoder.get_input_embeddings().base.weight.std()
        )
        trained = [name for name, p in word.networks.named_parameters() if p.requires_grad]
    assert 0.8 < float(ratio) < 1.2
    assert len(trained) == 1
    assert trained[0].endswith("vectors")


def test_what_cannot_be_learned_is_one_sentence(pipe, pictures, tmp_path):
    (pictures / "0.txt").write_text("a photo of my pet")
    with pytest.raises(
        DataError, match=r"0.png: its caption 'a photo of my pet' lacks <cat>; write the word into it"
    ):
        learn(pipe, pictures, tmp_path / "cat.safetensors")
    with pytest.raises(TrainingError, match="cat.pt: a textual inversion is a .safetensors file"):
        learn(pipe, pictures, tmp_path / "cat.pt")
    with pytest.raises(TrainingError, match="token"):
        TextualInversionSettings()
    with pytest.raises(TrainingError, match="gradient_checkpointing is not there for textual inversion"):
        settings(gradient_checkpointing=True)


def test_the_command_says_its_options():
    from click.testing import CliRunner
    from mezzotint_conditioning.textual_inversion.training.command import command

    shown = CliRunner().invoke(command, ["--help"]).output
    for option in ("--token", "--vectors", "--init", "--steps", "--learning-rate", "--resume"):
        assert option in shown
