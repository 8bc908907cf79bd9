"""A pixel model with T5, in the shape of DeepFloyd IF, against diffusers' IFPipeline, bit for bit."""

from __future__ import annotations

import json
import shutil

import diffusers
import pytest
import torch
from mezzotint.errors import ModelError
from mezzotint.models.loading import open_folder
from mezzotint.testing import fingerprint, save_tiny_pixel_model, tiny_pipeline

SEED = 5


@pytest.fixture(scope="module", params=[True, False], ids=["learned variance", "fixed variance"])
def folder(request, tmp_path_factory):
    return save_tiny_pixel_model(tmp_path_factory.mktemp("if") / "model", learned_variance=request.param)


@pytest.fixture(scope="module")
def if_folder(tmp_path_factory):
    """Stage I of IF always predicts its variance, and IFPipeline relies on that."""
    return save_tiny_pixel_model(tmp_path_factory.mktemp("if") / "model")


def generators(n):
    return [torch.Generator("cpu").manual_seed(SEED + k) for k in range(n)]


@pytest.mark.parametrize("guidance", [1.0, 7.0])
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("scheduler", [None, "DPMSolverMultistepScheduler"])
def test_pictures_are_those_of_if_pipeline_bit_for_bit(if_folder, guidance, n, scheduler):
    stock = diffusers.IFPipeline.from_pretrained(
        if_folder, safety_checker=None, watermarker=None, requires_safety_checker=False
    )
    stock.set_progress_bar_config(disable=True)
    pipe = tiny_pipeline(if_folder)
    own = None if scheduler is None else getattr(diffusers, scheduler).from_config(pipe.scheduler.config)
    stock.scheduler = own or type(pipe.scheduler).from_config(pipe.scheduler.config)
    options = {"guidance_scale": guidance, "num_inference_steps": 4, "num_images_per_prompt": n}
    expected = stock(
        " A Cat on a mat ",
        negative_prompt="Ugly",
        generator=generators(n),
        output_type="pt",
        clean_caption=False,
        **options,
    ).images
    pictures = stock(
        " A Cat on a mat ",
        negative_prompt="Ugly",
        generator=generators(n),
        output_type="pil",
        clean_caption=False,
        **options,
    ).images
    result = pipe(
        " A Cat on a mat ", negative="Ugly", guidance=guidance, steps=4, n=n, seed=SEED, scheduler=own
    )
    assert torch.equal(result.latents, expected)
    assert [image.tobytes() for image in result.images] == [image.tobytes() for image in pictures]


def test_the_prompt_and_the_variance_matter(folder):
    pipe = tiny_pipeline(folder)
    one = pipe("a cat", steps=2, seed=1).latents
    assert not torch.equal(one, pipe("a dog", steps=2, seed=1).latents)


def test_every_size_is_possible_and_the_preview_is_the_picture(folder):
    pipe = tiny_pipeline(folder)
    seen = []
    result = pipe("a cat", steps=2, seed=1, size=(20, 12), on_step=lambda p: seen.append(p.preview()[0]))
    assert result.images[0].size == (20, 12)
    assert seen[0].size == (20, 12)


def test_a_run_leaves_nothing_behind(folder):
    pipe = tiny_pipeline(folder)
    before = fingerprint(pipe)
    pipe("a cat", steps=2, seed=1)
    assert fingerprint(pipe) == before


def test_text_that_does_not_fit_is_said(folder, caplog):
    tiny_pipeline(folder)("a " * 80, steps=1, seed=1)
    assert "cut off: 'a a a a" in caplog.text


def test_the_scheduler_is_not_corrected_as_stable_diffusions_is(folder):
    # IF's has clip_sample=True, which StableDiffusionPipeline would switch off.
    assert tiny_pipeline(folder).scheduler.config.clip_sample is True


def test_a_folder_of_latents_without_its_vae_is_refused(model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text())
    del index["vae"]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(
        ModelError, match="names no vae, and the 4 channels that the U-Net takes are no picture"
    ):
        open_folder(folder, torch.float32)


def test_a_text_encoder_of_another_width_is_refused(folder, tmp_path):
    other = save_tiny_pixel_model(tmp_path / "other", encoder_hid_dim=48)
    with pytest.raises(
        ModelError, match="the U-Net's encoder_hid_dim is 48, the text encoder's hidden_size 32"
    ):
        open_folder(other, torch.float32)


def with_words_in(folder, tmp_path, content):
    """A tokenizer as IF ships it: its vocabulary in SentencePiece's format alone."""
    model = shutil.copytree(folder, tmp_path / "model")
    shutil.rmtree(model / "tokenizer")
    (model / "tokenizer").mkdir()
    (model / "tokenizer" / "spiece.model").write_bytes(content)
    config = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "model_max_length": 77}
    (model / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(config))
    return model


def test_a_tokenizer_in_sentencepieces_format_is_opened(folder, tmp_path):
    pytest.importorskip("sentencepiece")
    from sentencepiece import sentencepiece_model_pb2

    words = sentencepiece_model_pb2.ModelProto()
    words.trainer_spec.model_type = words.trainer_spec.UNIGRAM
    words.trainer_spec.unk_id = 2
    kinds = {"<unk>": 2, "<pad>": 3, "</s>": 3}
    for piece in ("<pad>", "</s>", "<unk>", "▁", "▁a", *"abcdefghijklmnopqrstuvwxyz"):
        words.pieces.add(piece=piece, score=-1.0, type=kinds.get(piece, 1))
    pipe = tiny_pipeline(with_words_in(folder, tmp_path, words.SerializeToString()))
    pieces = pipe.tokenizer.convert_ids_to_tokens(pipe.tokenizer("a cat").input_ids)
    assert pieces == ["▁a", "▁", "c", "a", "t", "</s>"]


def test_a_tokenizer_whose_library_is_missing_says_which(folder, tmp_path, monkeypatch):
    def fail(*args, **options):
        raise ImportError("tiktoken is required")

    monkeypatch.setattr("mezzotint.models.loading.find_spec", lambda name: None)
    monkeypatch.setattr("transformers.T5Tokenizer.from_pretrained", fail)
    with pytest.raises(
        ModelError, match="has its words in spiece.model, which needs a library: pip install sentencepiece"
    ):
        open_folder(with_words_in(folder, tmp_path, b""), torch.float32)


def test_what_encodes_pictures_works_on_pixels(folder):
    vae = tiny_pipeline(folder).vae
    picture = torch.rand(1, 3, 4, 4)
    assert vae.encode(picture).latent_dist.mode() is picture
    assert vae.encode(picture).latent_dist.sample(torch.Generator()) is picture
    assert vae.decode(picture).sample is picture
