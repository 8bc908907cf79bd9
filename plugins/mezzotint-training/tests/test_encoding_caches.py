"""Caches answer with what the encoder would say, and only for the same content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bias_trainee import training_biases
from mezzotint_training import (
    Captioning,
    DataError,
    Dataset,
    Item,
    LatentEncoder,
    TensorStore,
    TextEncoder,
    TrainingError,
    TrainingSettings,
    make_encoders,
    prepare,
)
from mezzotint_training.data.buckets import Buckets
from mezzotint_training.data.reading import with_sizes
from PIL import Image
from safetensors.torch import save_file


class Counting:
    """Counts how many pictures a VAE encodes."""

    def __init__(self, encoder: LatentEncoder) -> None:
        self.count = 0
        real = encoder._encode

        def encode(views):
            self.count += len(views)
            return real(views)

        encoder._encode = encode


@pytest.fixture
def view(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    items = with_sizes([Item(tmp_path / "a.png", ("a cat",))], "stop", decode=False)
    return Dataset.placed(items, Buckets((32, 32), enabled=False)).views()[0]


def encoded(pipe, folder, view, **options) -> tuple[torch.Tensor, int]:
    encoder = LatentEncoder(pipe.vae, store=TensorStore(folder, in_memory=False), **options)
    counting = Counting(encoder)
    return encoder.moments([view])[0].mean, counting.count


def test_a_second_training_encodes_nothing_anew(pipe, tmp_path, view):
    first, made = encoded(pipe, tmp_path / "cache", view)
    second, made_again = encoded(pipe, tmp_path / "cache", view)
    assert (made, made_again) == (1, 0)
    assert torch.equal(first, second)


def test_other_pixels_under_the_same_name_are_encoded(pipe, tmp_path, view):
    encoded(pipe, tmp_path / "cache", view)
    Image.new("RGB", (32, 32), "red").save(view.item.path)
    assert encoded(pipe, tmp_path / "cache", view)[1] == 1


def test_other_weights_of_the_vae_encode(pipe, tmp_path, view):
    encoded(pipe, tmp_path / "cache", view)
    with torch.no_grad():
        next(pipe.vae.encoder.parameters())[0] += 1e-3
    assert encoded(pipe, tmp_path / "cache", view)[1] == 1


def test_another_size_mirroring_or_background_encodes(pipe, tmp_path, view):
    from dataclasses import replace

    encoded(pipe, tmp_path / "cache", view)
    larger = Buckets((48, 48), enabled=False).place((32, 32))
    assert encoded(pipe, tmp_path / "cache", replace(view, placement=larger))[1] == 1
    assert encoded(pipe, tmp_path / "cache", replace(view, mirrored=True))[1] == 1
    assert encoded(pipe, tmp_path / "cache", view, background=(0, 0, 0))[1] == 1
    assert encoded(pipe, tmp_path / "cache", view)[1] == 0


def test_a_cache_file_that_is_cut_off_is_made_again(pipe, tmp_path, view):
    first, _ = encoded(pipe, tmp_path / "cache", view)
    (file,) = (tmp_path / "cache").rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:50])
    second, made = encoded(pipe, tmp_path / "cache", view)
    assert made == 1
    assert torch.equal(first, second)


def cut_off(file: Path, store: TensorStore) -> None:
    file.write_bytes(file.read_bytes()[:-8])


def other_bytes(file: Path, store: TensorStore) -> None:
    file.write_bytes(file.read_bytes()[:-8] + b"\0" * 8)


def other_names(file: Path, store: TensorStore) -> None:
    save_file({"x": torch.ones(1)}, file)


def of_another_key(file: Path, store: TensorStore) -> None:
    store.put("abd", {"mean": torch.zeros(9)})
    file.write_bytes((file.parent / "abd.safetensors").read_bytes())


def no_file(file: Path, store: TensorStore) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut_off, other_bytes, other_names, of_another_key, no_file])
def test_a_cache_file_that_is_not_what_was_written_is_as_if_it_were_not_there(damage, tmp_path):
    store = TensorStore(tmp_path, in_memory=False)
    store.put("abc", {"mean": torch.arange(9.0)})
    assert torch.equal(store.get("abc")["mean"], torch.arange(9.0))
    damage(tmp_path / "ab" / "abc.safetensors", store)
    assert store.get("abc") is None
    store.put("abc", {"mean": torch.arange(9.0)})
    assert torch.equal(store.get("abc")["mean"], torch.arange(9.0))


def test_a_cache_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    import os

    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: done.append(name) or real(*a))
    TensorStore(tmp_path).put("abc", {"mean": torch.ones(1)})
    assert done == ["fsync", "replace"]


def test_a_disk_without_room_keeps_the_cache_in_memory(pipe, tmp_path, view, monkeypatch, caplog):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    encoder = LatentEncoder(pipe.vae, store=TensorStore(tmp_path / "cache", in_memory=False))
    counting = Counting(encoder)
    encoder.moments([view])
    encoder.moments([view])
    assert counting.count == 1
    assert "No space left on device" in caplog.text


def test_embeddings_are_those_of_the_encoder_and_kept_by_its_weights(pipe, tmp_path):
    store = TensorStore(tmp_path / "cache", in_memory=False)
    cached = TextEncoder(pipe.text_encoder, pipe.tokenizer, store=store)
    fresh = TextEncoder(pipe.text_encoder, pipe.tokenizer)
    texts = ["a cat", "", "a dog", "a cat"]
    expected = fresh.embeddings(texts)
    assert torch.equal(cached.embeddings(texts), expected)
    assert torch.equal(cached.embeddings(texts[::-1]), expected.flip(0))
    with torch.no_grad():
        next(pipe.text_encoder.parameters())[:] += 0.1
    changed = TextEncoder(pipe.text_encoder, pipe.tokenizer, store=store).embeddings(texts)
    assert not torch.equal(changed, expected)


def test_clip_skip_takes_an_earlier_layer_and_normalises_it(pipe):
    whole = TextEncoder(pipe.text_encoder, pipe.tokenizer)
    skipped = TextEncoder(pipe.text_encoder, pipe.tokenizer, clip_skip=1)
    ids = pipe.tokenizer(["a cat"], padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        hidden = pipe.text_encoder(ids, output_hidden_states=True).hidden_states[-2]
        body = getattr(pipe.text_encoder, "text_model", pipe.text_encoder)
        expected = body.final_layer_norm(hidden)
    assert torch.equal(skipped.embeddings(["a cat"]), expected)
    assert not torch.equal(skipped.embeddings(["a cat"]), whole.embeddings(["a cat"]))


def test_an_encoder_refuses_to_skip_more_layers_than_it_has(pipe):
    layers = pipe.text_encoder.config.num_hidden_layers
    assert (
        TextEncoder(pipe.text_encoder, pipe.tokenizer, clip_skip=layers)
        .embeddings(["a cat"])
        .isfinite()
        .all()
    )
    with pytest.raises(TrainingError, match=f"clip_skip is {layers + 1}, but .* has {layers} layers"):
        TextEncoder(pipe.text_encoder, pipe.tokenizer, clip_skip=layers + 1)


def losses(pipe, folder, tmp_path, **options):
    """The loss of every batch of an epoch, without a step."""
    from mezzotint_training import Batches, Objective

    settings = TrainingSettings(batch_size=2, seed=4, **options)
    data = prepare(folder, settings, pipe)
    with training_biases(pipe, settings) as trainee, torch.no_grad():
        encoders = make_encoders(trainee, settings)
        dataset = encoders.fill(data.training)
        batches = Batches(dataset, encoders.latents, encoders.text, trainee, 1.0)
        objective = Objective.of(settings, pipe.scheduler, pipe.device)
        order = dataset.order(2, settings.seed)
        found = []
        for number in range(order.batches_per_epoch):
            batch = batches.make(order.batch(number))
            noised = objective.noised(batch.latents, batch.keys)
            prediction = trainee.networks(noised.noisy, noised.timesteps, batch.text)
            found.append(objective.losses(prediction, noised, batch.mask))
        return torch.cat(found)


def test_loss_is_the_same_bits_with_and_without_caches(pipe, pictures, tmp_path):
    folder = pictures((32, 32), (40, 32), (32, 48), (32, 32), (32, 32))
    options = {"caption_dropout": 0.3, "flip": True, "shuffle_captions": True}
    fresh = losses(pipe, folder, tmp_path, cache="off", **options)
    assert torch.equal(fresh, losses(pipe, folder, tmp_path, cache="memory", **options))
    on_disk = {"cache": "disk", "cache_folder": tmp_path / "cache"}
    assert torch.equal(fresh, losses(pipe, folder, tmp_path, **on_disk, **options))
    assert torch.equal(fresh, losses(pipe, folder, tmp_path, **on_disk, **options))


def test_several_pictures_at_once_through_the_vae_agree_to_rounding(pipe, pictures, tmp_path):
    folder = pictures(*[(32, 32)] * 4)
    one = losses(pipe, folder, tmp_path)
    several = losses(pipe, folder, tmp_path, vae_batch_size=4)
    assert torch.allclose(one, several, atol=1e-5)


def test_a_picture_that_is_cut_off_is_found_while_encoding(pipe, pictures, tmp_path, caplog):
    folder = pictures(*[(32, 32)] * 3)
    whole = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(whole[:200])
    with pytest.raises(DataError, match=r"1\.png is broken: .* choose bad_images=skip"):
        losses(pipe, folder, tmp_path)
    with pytest.raises(DataError, match=r"1\.png is broken: .* choose bad_images=skip"):
        losses(pipe, folder, tmp_path, cache="off")
    assert len(losses(pipe, folder, tmp_path, bad_images="skip")) == 2
    assert len(losses(pipe, folder, tmp_path, bad_images="skip", cache="off")) == 2
    assert "1.png is broken" in caplog.text


def test_a_mask_that_is_damaged_is_found_before_the_training_without_a_cache_too(pipe, pictures, caplog):
    folder = pictures(*[(32, 32)] * 2)
    (folder / "1.mask.png").write_bytes(b"junk")
    options = {"masks": True, "cache": "off"}
    with pytest.raises(DataError, match=r"1\.mask\.png is not a picture .* choose bad_images=skip"):
        prepare(folder, TrainingSettings(**options), pipe)
    data = prepare(folder, TrainingSettings(**options, bad_images="skip"), pipe)
    assert [item.path.name for item in data.training.items] == ["0.png"]
    assert "1.mask.png is not a picture" in caplog.text


@pytest.mark.parametrize("cache", ["memory", "off"])
def test_a_picture_too_narrow_to_be_resized_is_named(cache, pipe, pictures, caplog):
    folder = pictures((32, 32), (32, 32))
    Image.new("L", (1, 1_000_000)).save(folder / "1.png")

    def filled(**options) -> list[str]:
        settings = TrainingSettings(cache=cache, **options)
        data = prepare(folder, settings, pipe)
        with training_biases(pipe, settings) as trainee:
            return [item.path.name for item in make_encoders(trainee, settings).fill(data.training).items]

    with pytest.raises(DataError, match=r"1\.png is 1x1000000 pixels, too narrow.* choose bad_images=skip"):
        filled()
    assert filled(bad_images="skip") == ["0.png"]
    assert "1.png is 1x1000000 pixels, too narrow" in caplog.text


def test_random_cuts_are_not_cached(pipe, pictures):
    folder = pictures((64, 32))
    with pytest.raises(Exception, match="random_crop needs cache=off"):
        TrainingSettings(random_crop=True)
    data = prepare(folder, TrainingSettings(random_crop=True, cache="off", buckets=False), pipe)
    draws = [data.training.order(1).batch(number)[0] for number in range(30)]
    assert len({data.training.view(draw).left for draw in draws}) > 10


def test_shuffled_captions_are_embedded_when_they_come(pipe, pictures):
    folder = pictures((32, 32))
    data = prepare(folder, TrainingSettings(), pipe)
    item = data.training.items[0]
    assert item.captioning == Captioning()
