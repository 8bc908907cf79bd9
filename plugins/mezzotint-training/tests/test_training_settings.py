"""Settings that cannot be are an error before anything is read."""

from __future__ import annotations

import pytest
from mezzotint import Extension, hookimpl
from mezzotint_training import Captioning, Item, TrainingError, TrainingSettings, prepare
from mezzotint_training.command import read_settings
from PIL import Image


@pytest.mark.parametrize("betas", [(2, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9, float("nan"))])
def test_betas_are_from_0_to_below_1(betas):
    with pytest.raises(TrainingError, match=r"option 'betas\.[01]': input should be (less|greater) than"):
        TrainingSettings(betas=betas)


def test_clip_skip_leaves_out_at_most_every_layer(pipe, pictures):
    folder = pictures((32, 32))
    layers = pipe.text_encoder.config.num_hidden_layers
    prepare(folder, TrainingSettings(clip_skip=layers), pipe)
    with pytest.raises(
        TrainingError, match=f"clip_skip is {layers + 1}, but this model's text encoder has {layers} layers"
    ):
        prepare(folder, TrainingSettings(clip_skip=layers + 1), pipe)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 5, "epochs": 2}, "steps and epochs both say how long to train"),
        ({"buckets": False, "bucket_min": 64}, "bucket_min does nothing without buckets"),
        ({"buckets": False, "bucket_no_upscale": True}, "bucket_no_upscale does nothing without buckets"),
        ({"cache_folder": "kept"}, "cache_folder goes with cache=disk, not memory"),
        ({"validate_every": 7}, "validate_every does nothing without validation"),
        ({"sample_every": 7}, "sample_every does nothing without sample_prompts"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(options, said):
    with pytest.raises(TrainingError, match=said):
        TrainingSettings(**options)


def test_epochs_take_as_many_steps_as_there_are_batches():
    assert TrainingSettings(epochs=3).steps_of(batches_per_epoch=5, processes=1) == 15
    assert TrainingSettings(epochs=3, accumulate=2).steps_of(batches_per_epoch=5, processes=2) == 4


def test_an_option_that_asks_for_nothing_is_not_refused():
    TrainingSettings(epochs=None, steps=3, cache_folder=None, bucket_no_upscale=False, buckets=False)


@pytest.mark.parametrize("options", [{}, {"epochs": 2}, {"keep_tokens": 1, "tag_dropout": 0.1}])
def test_settings_are_the_same_when_they_are_read_again(options):
    settings = TrainingSettings(**options)
    assert TrainingSettings(**settings.model_dump()) == settings
    assert TrainingSettings.model_validate_json(settings.model_dump_json()) == settings


def test_changes_take_away_what_they_leave_nothing_to_do():
    settings = TrainingSettings(steps=5, validation=0.1, validate_every=7, cache="disk", cache_folder="kept")
    changed = settings.replaced(epochs=2, validation=0, cache="memory")
    assert changed.model_fields_set == {"epochs", "validation", "cache"}
    assert changed.replaced(steps=5).epochs is None
    assert settings.replaced(epochs=None).steps == 5
    with pytest.raises(TrainingError, match="validate_every does nothing"):
        changed.replaced(validate_every=7)


def test_changes_take_away_what_pictures_may_bring_only_if_they_took_what_it_had():
    settings = TrainingSettings(prior_data="x", prior_weight=0.5, shuffle_captions=True, keep_tokens=1)
    changed = settings.replaced(prior_data=None, shuffle_captions=False)
    assert changed.model_fields_set == {"prior_data", "shuffle_captions"}
    assert settings.replaced(shuffle_captions=False, tag_dropout=0.1).keep_tokens == 1
    assert TrainingSettings(prior_weight=0.5).replaced(prior_data=None).prior_weight == 0.5


def test_a_value_that_goes_is_checked_all_the_same():
    for below, above in (
        ({"validate_every": "garbage"}, {"validation": 0}),
        ({"validation": 0.1, "validate_every": 0}, {"validation": 0}),
        ({"steps": "garbage"}, {"epochs": 2}),
    ):
        with pytest.raises(TrainingError, match=r"training: option '(validate_every|steps)': input should"):
            TrainingSettings.combined(below, above)


def test_the_command_line_takes_away_from_the_file_what_it_leaves_nothing_to_do(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("steps = 5\nvalidation = 0.1\nvalidate_every = 7\n")
    settings = read_settings(TrainingSettings, file, {"epochs": "2", "validation": "0"})
    assert settings.model_fields_set == {"epochs", "validation"}
    file.write_text("validate_every = 7\n")
    with pytest.raises(TrainingError, match="validate_every does nothing without validation"):
        read_settings(TrainingSettings, file, {})


def test_what_needs_something_of_the_pictures_is_refused_once_they_are_read(pipe, pictures, tmp_path):
    folder = pictures((32, 32), (32, 32))
    for options, said in (
        ({"keep_tokens": 1}, "keep_tokens does nothing without shuffle_captions or tag_dropout"),
        ({"prior_weight": 0.5}, "prior_weight does nothing without pictures of the class"),
        ({"prior_weight": 0.0}, "prior_weight does nothing without pictures of the class"),
        ({"prior_caption": "a dog"}, "prior_caption does nothing without pictures of the class; name"),
        ({"masks": True}, "masks does nothing, as no picture has one"),
        ({"alpha_masks": True}, "alpha_masks does nothing, as no picture has transparency"),
        ({"caption": "a dog"}, "caption does nothing, as every picture has a caption of its own"),
        (
            {"prior_data": folder, "prior_caption": "a dog"},
            "prior_caption does nothing, as every picture of the class has a caption of its own",
        ),
    ):
        with pytest.raises(TrainingError, match=said):
            prepare(folder, TrainingSettings(**options), pipe)
    for caption in "01":
        (folder / f"{caption}.txt").write_text("one, two")
    for options in (
        {"shuffle_captions": True, "keep_tokens": 1},
        {"shuffle_captions": True, "keep_tokens": 9},
    ):
        with pytest.raises(
            TrainingError,
            match="shuffle_captions does nothing, as no caption that may be shuffled has two parts",
        ):
            prepare(folder, TrainingSettings(**options), pipe)
    prepare(folder, TrainingSettings(shuffle_captions=True), pipe)
    fixed = tmp_path / "fixed.toml"
    fixed.write_text(f'[[datasets]]\n[[datasets.subsets]]\nimage_dir = "{folder}"\nshuffle_caption = false\n')
    with pytest.raises(TrainingError, match="shuffle_captions does nothing, as no caption that may be"):
        prepare(fixed, TrainingSettings(shuffle_captions=True), pipe)
    shuffled = Item(folder / "0.png", ("a, b",), Captioning(shuffle=True))
    of_class = Item(folder / "1.png", ("c",), is_prior=True)
    prepare([shuffled, of_class], TrainingSettings(keep_tokens=1, prior_weight=0.5), pipe)


def test_an_option_that_skipped_pictures_would_need_is_refused_for_that(pipe, pictures):
    folder, of_class = pictures((32, 32), (32, 32)), pictures((32, 32), name="class", captions=False)
    Image.new("L", (32, 32)).save(folder / "0.mask.png")
    (folder / "0.txt").unlink()
    for options, said in (
        ({"masks": True}, "masks does nothing, as every picture with a mask is skipped, having no caption"),
        (
            {"prior_data": of_class, "prior_weight": 0.5},
            "prior_data does nothing, as every picture of the class is skipped, having no caption; give one",
        ),
    ):
        with pytest.raises(TrainingError, match=said):
            prepare(folder, TrainingSettings(missing_captions="skip", **options), pipe)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("lr", "learning_rate"),
        ("max_train_steps", "steps"),
        ("num_train_epochs", "epochs"),
        ("instance_prompt", "caption"),
        ("use_8bit_adam", "optimizer=adamw-8bit"),
        ("with_prior_preservation", "prior_data"),
        ("report_to", "tensorboard"),
        ("validation_prompt", "sample_prompts=FILE"),
    ],
)
def test_a_name_of_another_trainer_is_answered_with_ours(theirs, ours, tmp_path):
    sentence = f"training: no option '{theirs}'; did you mean {ours}?"
    with pytest.raises(TrainingError) as caught:
        TrainingSettings(**{theirs: 1})
    assert str(caught.value) == sentence
    (tmp_path / "settings.toml").write_text(f"{theirs.replace('_', '-')} = 1\n")
    with pytest.raises(TrainingError) as caught:
        read_settings(TrainingSettings, tmp_path / "settings.toml", {})
    assert str(caught.value) == sentence


def test_a_file_of_settings_that_is_nested_too_deeply_is_a_sentence(tmp_path):
    (tmp_path / "settings.toml").write_text("rank = " + "[" * 5000)
    with pytest.raises(
        TrainingError, match=r"settings\.toml: lists or tables in it are nested too deeply to read"
    ):
        read_settings(TrainingSettings, tmp_path / "settings.toml", {})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("model = 'emoji'", "'model'; it stands on the command line, --model, and in Python in the call"),
        (
            "output_dir = 'a'",
            "'output_dir'; it stands on the command line, --output, and in Python in the call",
        ),
        (
            "train_data_dir = 'a'",
            "'train_data_dir'; give the pictures as DATA, a folder or a TOML file of kohya's",
        ),
        (
            "center_crop = true",
            "'center_crop'; none is needed: without buckets (--no-buckets) pictures are cut",
        ),
        ("xformers = true", "'xformers'; none is needed: torch's own attention is used"),
        ("[training]\nsteps = 3", "'training'; options stand at the top level of the file, without a table"),
    ],
)
def test_what_is_no_option_of_a_file_is_answered_with_its_place(line, said, tmp_path):
    (tmp_path / "settings.toml").write_text(line)
    with pytest.raises(TrainingError) as caught:
        read_settings(TrainingSettings, tmp_path / "settings.toml", {})
    assert str(caught.value).startswith(f"training: no option {said}")


def test_a_value_of_another_form_is_answered_in_words():
    for value in ("white", [1, 2], 3):
        with pytest.raises(TrainingError, match="'background': three numbers R,G,B from 0 to 255, such as"):
            TrainingSettings(background=value)


def test_a_name_of_another_trainer_is_not_answered_with_an_option_that_is_not_there():
    with pytest.raises(TrainingError, match="no option 'network_dim'; there are: accumulate, alpha_masks"):
        TrainingSettings(network_dim=8)


def test_every_name_of_another_trainer_stands_for_an_option_of_a_training():
    from mezzotint_conditioning.textual_inversion.training import TextualInversionSettings
    from mezzotint_controlnet.training import ControlNetSettings
    from mezzotint_lora.training import LoRASettings
    from mezzotint_training.names_elsewhere import (
        _ELSEWHERE,
        _OF_THE_COMMAND,
        _SENTENCES,
        names_elsewhere,
    )

    trainings = (LoRASettings, ControlNetSettings, TextualInversionSettings)
    known = {name for training in trainings for name in training.model_fields} | set(_OF_THE_COMMAND)
    assert names_elsewhere(known) == _ELSEWHERE
    assert not known & (_ELSEWHERE.keys() | _SENTENCES.keys())
    assert names_elsewhere(TextualInversionSettings.model_fields)["initializer_token"] == "init"
    assert "initializer_token" not in names_elsewhere(LoRASettings.model_fields)


def test_text_that_cannot_be_written_and_colours_that_are_none_are_refused():
    with pytest.raises(TrainingError, match="caption has bytes in it that are no characters"):
        TrainingSettings(caption="a \udcff")
    with pytest.raises(TrainingError, match="less than or equal to 255"):
        TrainingSettings(background=(300, 0, 0))


def test_a_picture_alone_cannot_be_held_out(pipe, pictures):
    with pytest.raises(TrainingError, match="validation needs two pictures"):
        prepare(pictures((32, 32)), TrainingSettings(validation=0.5), pipe)


def test_a_model_with_something_attached_is_not_trained(pipe, pictures):
    class Nothing(Extension, name="nothing"):
        @hookimpl
        def latents(self, run):
            return None

    with pipe.using(Nothing()), pytest.raises(TrainingError, match="nothing is attached to the model"):
        prepare(pictures((32, 32)), TrainingSettings(), pipe)
    assert pipe.attached == ()
