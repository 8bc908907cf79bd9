"""kohya's TOML: which of it holds beside the training's settings, and what is wrong with it is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from mezzotint_training import Captioning, DataError, TrainingError, TrainingSettings, prepare
from mezzotint_training.data.subsets import read_subsets


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
    assert (subject.repeats, subject.is_prior, subject.resolution) == (3, False, None)
    assert subject.captioning.shuffle
    assert subject.captioning.keep_tokens == 1
    assert subject.captioning.prefix == "sks"
    assert [(item.is_prior, item.captions, item.captioning.keep_tokens, item.flip) for item in prior] == [
        (True, ("a thing",), 2, True)
    ] * 2
    assert subsets.settings == {"batch_size": 2, "bucket_step": 16, "resolution": (64, 64)}


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


def toml(options: str = "", dataset: str = "", general: str = "") -> str:
    """One data set of one subset, with these lines in its tables."""
    return (
        f"[general]\n{general}\n[[datasets]]\n{dataset}\n[[datasets.subsets]]\n"
        f'image_dir = "pictures"\n{options}\n'
    )


@pytest.fixture
def read(pictures, tmp_path):
    """Writes and reads a file with one picture."""
    pictures((32, 32))
    return lambda *tables, **named: read_subsets(write_toml(tmp_path, toml(*tables, **named)))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ('num_repeats = "5"', "input should be a valid integer, got '5'"),
        ("num_repeats = 1.5", "input should be a valid integer, got 1.5"),
        ("num_repeats = 0", "input should be greater than or equal to 1, got 0"),
        ("num_repeats = -1", "input should be greater than or equal to 1, got -1"),
        ('caption_separator = ""', "string should have at least 1 character"),
        ("caption_dropout_rate = 7", "input should be less than or equal to 1, got 7"),
        ('caption_dropout_rate = "x"', "input should be a valid number, got 'x'"),
        ("caption_tag_dropout_rate = nan", "input should be a finite number, got nan"),
        ("keep_tokens = -1", "input should be greater than or equal to 0, got -1"),
        ('shuffle_caption = "no"', "input should be a valid boolean, got 'no'"),
        ('caption_extension = "a/b"', "the end of a file's name, such as .txt, not 'a/b'"),
        ("class_tokens = 5", "input should be a valid string, got 5"),
    ],
)
def test_a_malformed_option_is_named_with_its_subset(option, said, read):
    name = option.split(" = ")[0]
    with pytest.raises(DataError, match=rf"data\.toml, data set 1, subset 1: option '{name}': {said}"):
        read(option)


@pytest.mark.parametrize("option", ["resolution = 64", "batch_size = 2", "enable_bucket = false"])
def test_what_a_data_set_says_for_all_its_subsets_is_refused_in_one(option, read):
    name = option.split(" = ")[0]
    with pytest.raises(
        DataError, match=rf"subset 1: {name} is the same in all subsets of a data set; write it"
    ):
        read(option)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        (
            {"dataset": 'batch_size = "4"'},
            r"data set 1: option 'batch_size': input should be a valid integer",
        ),
        (
            {"dataset": "resolution = [64, 64, 64]"},
            r"option 'resolution': a number or \[width, height\], of 8 pixels or more, not \[64, 64, 64\]",
        ),
        ({"dataset": "resolution = true"}, "option 'resolution': a number or"),
        ({"general": "keep_tokens = -1"}, r"data\.toml, \[general\]: option 'keep_tokens'"),
    ],
)
def test_a_malformed_option_is_named_with_its_table(tables, said, read):
    with pytest.raises(DataError, match=said):
        read(**tables)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("general = 5\n" + toml().removeprefix("[general]"), "general is a table of options, .*not 5"),
        ('datasets = ["a"]', r"datasets is a list of tables, each written below \[\[datasets\]\], not"),
        ("[[datasets]]\nsubsets = [1]", r"data set 1: subsets is a list of tables"),
        (
            "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 5",
            "option 'image_dir': input should be a valid string",
        ),
        ("x = " + "[" * 100_000, "is not TOML"),
    ],
)
def test_what_is_no_table_is_explained(text, said, tmp_path):
    with pytest.raises(DataError, match=said):
        read_subsets(write_toml(tmp_path, text))


def test_a_caption_extension_may_lack_its_dot(pictures, tmp_path):
    folder = pictures((32, 32))
    (folder / "0.txt").rename(folder / "0.tags")
    (item,) = read_subsets(write_toml(tmp_path, toml('caption_extension = "tags"'))).items
    assert item.captions == ("picture 0, red, blue, green",)


@pytest.mark.parametrize("option", ["color_aug = false", "network_multiplier = 1.0", "validation_seed = 3"])
def test_options_that_are_lacking_but_ask_for_nothing_are_read_over(option, read):
    assert len(read(option).items) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1]", "is no object from picture to"),
        ('{"0": "a cat"}', "'0': what belongs to a picture is an object"),
        ('{"0": {"caption": 5}}', "'0': caption and tags are texts"),
        ('{"0": {"caption": "\\ud800"}}', r"'0': '\\ud800' in the caption is half of a surrogate pair"),
        ("[" * 100_000, "nested too deeply"),
        ("{", "is not JSON"),
    ],
)
def test_a_malformed_metadata_file_is_explained(content, said, read, tmp_path):
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(DataError, match=rf"m\.json.* {said}"):
        read('metadata_file = "m.json"')


def test_captions_of_a_metadata_file(read, tmp_path):
    (tmp_path / "m.json").write_text('\ufeff{"x/0.png": {"caption": "a cat", "tags": "red, big"}}')
    assert read('metadata_file = "m.json"').items[0].captions == ("a cat, red, big",)


def prepared(tmp_path, pipe, text, **settings):
    return prepare(write_toml(tmp_path, text), TrainingSettings(**settings), pipe)


# Beside a subset that says otherwise, something is left to shuffle.
ANOTHER_SUBSET = '\n[[datasets.subsets]]\nimage_dir = "other"\n'


def test_a_subset_overrules_only_the_caption_options_that_it_says(pictures, pipe, tmp_path):
    pictures((32, 32))
    pictures((32, 32), name="other")
    options = 'caption_prefix = "x"\nshuffle_caption = false\ncaption_tag_dropout_rate = 0'
    data = prepared(
        tmp_path,
        pipe,
        toml(options) + ANOTHER_SUBSET,
        caption_dropout=0.5,
        shuffle_captions=True,
        tag_dropout=0.3,
        keep_tokens=2,
    )
    expected = Captioning(shuffle=False, keep_tokens=2, dropout=0.5, tag_dropout=0.0, prefix="x")
    assert data.training.items[0].captioning == expected


def test_a_subset_that_says_only_what_is_the_default_still_overrules(pictures, pipe, tmp_path):
    pictures((32, 32))
    pictures((32, 32), name="other")
    text = toml("shuffle_caption = false") + ANOTHER_SUBSET
    data = prepared(tmp_path, pipe, text, shuffle_captions=True)
    assert data.training.items[0].captioning == Captioning()


def test_a_resolution_that_is_set_comes_before_the_tomls(pictures, pipe, tmp_path):
    pictures((32, 32))
    text = toml(dataset="resolution = 64\nenable_bucket = false")
    assert prepared(tmp_path, pipe, text, resolution=16).training.placements[0].bucket == (16, 16)
    of_the_file = prepared(tmp_path, pipe, text)
    assert of_the_file.training.placements[0].bucket == (64, 64)
    assert of_the_file.settings.resolution == (64, 64)


TWO_RESOLUTIONS = """
[general]
enable_bucket = false
[[datasets]]
resolution = [64, 32]
  [[datasets.subsets]]
  image_dir = "pictures"
[[datasets]]
resolution = 48
  [[datasets.subsets]]
  image_dir = "pictures"
"""


def test_data_sets_of_several_resolutions_keep_theirs_unless_one_is_set(pictures, pipe, tmp_path):
    pictures((32, 32))

    def buckets(**settings):
        data = prepared(tmp_path, pipe, TWO_RESOLUTIONS, **settings)
        return [place.bucket for place in data.training.placements]

    assert buckets() == [(64, 32), (48, 48)]
    assert buckets(resolution=16) == [(16, 16), (16, 16)]


@pytest.mark.parametrize(
    "text",
    [
        toml(dataset="resolution = 27\nenable_bucket = false"),
        TWO_RESOLUTIONS.replace("48", "27"),
    ],
)
def test_a_resolution_of_the_toml_has_to_fit_the_model(text, pictures, pipe, tmp_path):
    pictures((32, 32))
    with pytest.raises(TrainingError, match="width is 27; this model needs multiples of"):
        prepared(tmp_path, pipe, text)


def test_a_resolution_smaller_than_every_bucket_is_an_error(pictures, pipe, tmp_path):
    pictures((32, 32))
    with pytest.raises(TrainingError, match="a resolution of 16x16 is less than a bucket of 32x32"):
        prepared(tmp_path, pipe, toml(dataset="resolution = 16\nbucket_reso_steps = 32"))


def test_sizes_of_buckets_may_stand_beside_buckets_that_are_off(pictures, pipe, tmp_path):
    pictures((32, 32))
    off = "enable_bucket = false\nmin_bucket_reso = 16\nbucket_reso_steps = 16\n"
    path = write_toml(tmp_path, f"[[datasets]]\n{off}[[datasets.subsets]]\nimage_dir = 'pictures'\n")
    assert not prepare(path, TrainingSettings(), pipe).settings.buckets
    on = prepare(path, TrainingSettings(buckets=True), pipe).settings
    assert (on.bucket_min, on.bucket_step) == (16, 16)
    with pytest.raises(TrainingError, match="bucket_max does nothing without buckets"):
        prepare(path, TrainingSettings(bucket_max=64), pipe)
    path.write_text(path.read_text().replace("false", "true"))
    assert prepare(path, TrainingSettings(buckets=False), pipe).settings.bucket_step is None


def test_class_pictures_of_a_subset_take_the_prior_caption(pictures, pipe, tmp_path):
    pictures((32, 32))
    pictures((32, 32), name="class", captions=False)
    text = TOML.replace('  class_tokens = "a thing"\n', "")
    data = prepare(write_toml(tmp_path, text), TrainingSettings(prior_caption="a dog"), pipe)
    assert [item.captions for item in data.training.items if item.is_prior] == [("a dog",)]


def test_what_a_subset_needs_of_the_settings_is_no_option_that_does_nothing(pictures, pipe, tmp_path):
    pictures((32, 32))
    pictures((32, 32), name="class")
    data = prepare(write_toml(tmp_path, TOML), TrainingSettings(keep_tokens=3, prior_weight=0.5), pipe)
    assert data.settings.prior_weight == 0.5
