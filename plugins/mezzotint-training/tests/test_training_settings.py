"""Settings that cannot be are an error before anything is read."""

from __future__ import annotations

import pytest
from mezzotint_training import Captioning, Item, TrainingError, TrainingSettings, prepare
from mezzotint_training.command import read_settings


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
        ({"steps": 1000, "epochs": 2}, "steps and epochs both say how long to train"),
        ({"buckets": False, "bucket_min": 64}, "bucket_min does nothing without buckets"),
        ({"buckets": False, "bucket_no_upscale": True}, "bucket_no_upscale does nothing without buckets"),
        ({"cache_folder": "kept"}, "cache_folder goes with cache=disk, not memory"),
        ({"prior_caption": "a dog"}, "prior_caption does nothing without prior_data; set prior_data too"),
        ({"validate_every": 100}, "validate_every does nothing without validation"),
        ({"sample_every": 250}, "sample_every does nothing without sample_prompts"),
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


def test_changes_take_away_what_they_leave_nothing_to_do():
    settings = TrainingSettings(steps=5, validation=0.1, validate_every=7, cache="disk", cache_folder="kept")
    changed = settings.replaced(epochs=2, validation=0, cache="memory")
    assert changed.model_fields_set == {"epochs", "validation", "cache"}
    assert changed.replaced(steps=5).epochs is None
    assert settings.replaced(epochs=None).steps == 5
    with pytest.raises(TrainingError, match="validate_every does nothing"):
        changed.replaced(validate_every=7)


def test_the_command_line_takes_away_from_the_file_what_it_leaves_nothing_to_do(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text("steps = 5\nvalidation = 0.1\nvalidate_every = 7\n")
    settings = read_settings(TrainingSettings, file, {"epochs": "2", "validation": "0"})
    assert settings.model_fields_set == {"epochs", "validation"}
    file.write_text("validate_every = 7\n")
    with pytest.raises(TrainingError, match="validate_every does nothing without validation"):
        read_settings(TrainingSettings, file, {})


def test_what_needs_something_of_the_pictures_is_refused_once_they_are_read(pipe, pictures):
    folder = pictures((32, 32), (32, 32))
    for options, said in (
        ({"keep_tokens": 1}, "keep_tokens does nothing without shuffle_captions or tag_dropout"),
        ({"prior_weight": 0.5}, "prior_weight does nothing without pictures of the class"),
        ({"masks": True}, "masks does nothing, as no picture has one"),
    ):
        with pytest.raises(TrainingError, match=said):
            prepare(folder, TrainingSettings(**options), pipe)
    shuffled = Item(folder / "0.png", ("a, b",), Captioning(shuffle=True))
    of_class = Item(folder / "1.png", ("c",), is_prior=True)
    prepare([shuffled, of_class], TrainingSettings(keep_tokens=1, prior_weight=0.5), pipe)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("lr", "learning_rate"),
        ("max_train_steps", "steps"),
        ("num_train_epochs", "epochs"),
        ("instance_prompt", "caption"),
        ("use_8bit_adam", "optimizer=adamw-8bit"),
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


def test_a_name_of_another_trainer_is_not_answered_with_an_option_that_is_not_there():
    with pytest.raises(TrainingError, match="no option 'network_dim'; there are: accumulate, alpha_masks"):
        TrainingSettings(network_dim=8)


def test_every_name_of_another_trainer_stands_for_an_option_of_a_training():
    from mezzotint_conditioning.textual_inversion.training import TextualInversionSettings
    from mezzotint_controlnet.training import ControlNetSettings
    from mezzotint_lora.training import LoRASettings
    from mezzotint_training.names_elsewhere import _ELSEWHERE, names_elsewhere

    trainings = (LoRASettings, ControlNetSettings, TextualInversionSettings)
    known = {name for training in trainings for name in training.model_fields}
    assert names_elsewhere(known) == _ELSEWHERE
    assert not known & _ELSEWHERE.keys()
