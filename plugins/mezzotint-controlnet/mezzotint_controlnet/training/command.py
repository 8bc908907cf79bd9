"""`mezzotint controlnet train`."""

from __future__ import annotations

from mezzotint_training.command import training_command

from .settings import ControlNetSettings

command = training_command(
    ControlNetSettings,
    "mezzotint_controlnet.training.trainee:train_controlnet",
    output="The diffusers folder to write.",
    what="a ControlNet",
    suffix="",
    help="""Train a ControlNet on DATA: a folder of pictures, or a TOML file of kohya's.

    Control maps are made by --preprocess, or lie in the folder --maps under the names of the pictures, or are named in
    metadata.jsonl or metadata.csv. Checkpoints, samples and TensorBoard's log go to NAME-training beside the output;
    --resume goes on from there. Several processes: accelerate launch -m mezzotint controlnet train …
    """,
)
