"""Folders, metadata.jsonl and kohya's TOML; what is missing or wrong is named."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from mezzotint_training import DataError, TrainingSettings, prepare, read_folder
from mezzotint_training.data.reading import with_captions, with_sizes
from mezzotint_training.data.subsets import read_subsets
from PIL import Image


def captions(items):
    return {item.path.name: item.captions for item in items}


def test_a_folder_with_captions_beside(pictures):
    folder = pictures((32, 32), (32, 32))
    (folder / "1.txt").rename(folder / "1.caption")
    assert captions(read_folder(folder)) == {
        "0.png": ("picture 0, red, blue, green",),
        "1.png": ("picture 1, red, blue, green",),
    }


def test_metadata_comes_before_what_lies_beside(pictures):
    folder = pictures((32, 32), (32, 32))
    rows = [{"file_name": "0.png", "text": "a cat"}, {"file_name": "1.png", "captions": ["one", "two"]}]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert captions(read_folder(folder)) == {"0.png": ("a cat",), "1.png": ("one", "two")}


def test_pictures_below_are_found_and_masks_are_not_pictures(pictures):
    folder = pictures((32, 32))
    (folder / "more").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "more" / "a.JPG")
    Image.new("L", (8, 8)).save(folder / "0.mask.png")
    items = read_folder(folder)
    assert [item.path.name for item in items] == ["0.png", "a.JPG"]
    assert items[0].mask == folder / "0.mask.png"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1 is not JSON"),
        ("[1]", 'every line is an object with a "file_name"'),
        ('{"file_name": "../x.png"}', r"names ../x.png, which lies outside the folder"),
        ('{"file_name": "gone.png"}', "names gone.png, which is not in the folder"),
        ('{"file_name": "0.png", "text": 3}', "the caption is a text or a list of texts, not 3"),
        ('{"file_name": "0.png", "conditioning_image": "c.png"}', "names c.png, which is not there"),
    ],
)
def test_a_malformed_line_of_metadata_is_named(line, said, pictures):
    folder = pictures((32, 32))
    (folder / "metadata.jsonl").write_text(line)
    with pytest.raises(DataError, match=said):
        read_folder(folder)


def test_a_folder_without_pictures_says_so(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(DataError, match=r"has no pictures in it; there may be \.png"):
        read_folder(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        read_folder(tmp_path / "gone")


def test_each_policy_about_missing_captions(pictures, caplog):
    folder = pictures((32, 32), (32, 32))
    (folder / "1.txt").unlink()
    (folder / "1.png").rename(folder / "red-apple_2.png")
    items = read_folder(folder)
    with pytest.raises(DataError, match=r"red-apple_2\.png has no caption; write a \.txt beside each"):
        with_captions(items, "stop")
    assert captions(with_captions(items, "empty"))["red-apple_2.png"] == ("",)
    assert captions(with_captions(items, "name"))["red-apple_2.png"] == ("red apple 2",)
    assert captions(with_captions(items, "stop", "a fruit"))["red-apple_2.png"] == ("a fruit",)
    with caplog.at_level(logging.WARNING, "mezzotint"):
        assert list(captions(with_captions(items, "skip"))) == ["0.png"]
    assert "red-apple_2.png has no caption and is skipped" in caplog.text


def test_a_corrupt_picture_among_good_ones_is_named_and_stops_or_is_skipped(pictures, caplog):
    folder = pictures((32, 32), (32, 32), (32, 32))
    (folder / "1.png").write_bytes(b"not a picture")
    items = read_folder(folder)
    with pytest.raises(
        DataError, match=r"1\.png is not a picture .*; repair or remove it, or choose bad_images=skip"
    ):
        with_sizes(items, "stop", decode=False)
    with caplog.at_level(logging.WARNING, "mezzotint"):
        assert [item.path.name for item in with_sizes(items, "skip", decode=False)] == ["0.png", "2.png"]
    assert "1.png is not a picture" in caplog.text


def write_toml(folder: Path, text: str) -> Path:
    (folder / "data.toml").write_text(text)
    return folder / "data.toml"


TOML = """
[general]
shuffle_caption = true
caption_extension = ".txt"
keep_tokens = 1

[[datasets]]
resolution = 64
batch_size = 2
bucket_reso_steps = 16

  [[datasets.subsets]]
  image_dir = "pictures"
  num_repeats = 3
  caption_prefix = "sks"

  [[datasets.subsets]]
  image_dir = "class"
  is_reg = true
  class_tokens = "a thing"
  keep_tokens = 2
  flip_aug = true
"""


def test_kohyas_toml(pictures, tmp_path):
    pictures((32, 32))
    pictures((32, 32), (32, 32), name="class", captions=False)
    subsets = read_subsets(write_toml(tmp_path, TOML))
    subject, *prior = subsets.items
    assert (subject.repeats, subject.is_prior, subject.resolution) == (3, False, (64, 64))
    assert subject.captioning.shuffle
    assert subject.captioning.keep_tokens == 1
    assert subject.captioning.prefix == "sks"
    assert [(item.is_prior, item.captions, item.captioning.keep_tokens, item.flip) for item in prior] == [
        (True, ("a thing",), 2, True)
    ] * 2
    assert subsets.settings == {"batch_size": 2, "bucket_step": 16}


def test_what_is_set_for_the_training_comes_before_the_toml(pictures, tmp_path, pipe):
    pictures((32, 32))
    pictures((32, 32), name="class", captions=False)
    path = write_toml(tmp_path, TOML)
    assert prepare(path, TrainingSettings(), pipe).settings.batch_size == 2
    assert prepare(path, TrainingSettings(batch_size=5), pipe).settings.batch_size == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[datasets", "is not TOML"),
        ("[general]\n", r"has no \[\[datasets\]\]"),
        ("[[datasets]]\n", r"has no \[\[datasets.subsets\]\]"),
        ("[[datasets]]\n[[datasets.subsets]]\nnum_repeats=1\n", "has no image_dir"),
        (
            '[[datasets]]\n[[datasets.subsets]]\nimage_dri="a"\n',
            "no option 'image_dri'; did you mean image_dir",
        ),
        (
            '[[datasets]]\n[[datasets.subsets]]\nimage_dir="a"\ncolor_aug=true\n',
            "color_aug is not supported here",
        ),
    ],
)
def test_a_malformed_toml_is_explained(text, said, tmp_path):
    with pytest.raises(DataError, match=said):
        read_subsets(write_toml(tmp_path, text))


def test_pictures_held_out_are_the_same_in_every_run(pictures, pipe):
    folder = pictures(*[(32, 32)] * 10)
    first, again = (prepare(folder, TrainingSettings(validation=0.3), pipe) for _ in range(2))
    assert [item.path for item in first.held_out.items] == [item.path for item in again.held_out.items]
    assert len(first.held_out) == 3
    assert not {item.path for item in first.held_out.items} & {item.path for item in first.training.items}
