"""Settings that cannot be are an error before anything is read."""

from __future__ import annotations

import pytest
from mezzotint_training import TrainingError, TrainingSettings, prepare


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
