"""`mezzotint textual-inversion train`."""

from __future__ import annotations

from mezzotint.errors import PluginError

try:
    from mezzotint_training.command import training_command
except ModuleNotFoundError as error:
    raise PluginError(
        "training needs mezzotint-training: pip install 'mezzotint-conditioning[train]'"
    ) from error

from .settings import TextualInversionSettings

command = training_command(
    TextualInversionSettings,
    "mezzotint_conditioning.textual_inversion.training.trainee:train_textual_inversion",
    output="The .safetensors file to write.",
    what="a textual inversion",
    help="""Learn a word from DATA: a folder of pictures, or a TOML file of kohya's.

    A picture's caption is in a .txt beside it, or in metadata.jsonl or metadata.csv, and has the word in it; without
    one it is "a photo of TOKEN", unless --missing-captions is set. Checkpoints, samples and TensorBoard's log go to
    NAME-training beside the output; --resume goes on from there.
    """,
)
