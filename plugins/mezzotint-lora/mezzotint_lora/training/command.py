"""`mezzotint lora train`."""

from __future__ import annotations

from mezzotint_training.command import training_command

from .settings import LoRASettings

command = training_command(
    LoRASettings,
    "mezzotint_lora.training.trainee:train_lora",
    output="The .safetensors file to write.",
    what="a LoRA",
    help="""Train a LoRA on DATA: a folder of pictures, or a TOML file of kohya's.

    A picture's caption is in a .txt beside it, or in metadata.jsonl or metadata.csv. Checkpoints, samples and
    TensorBoard's log go to NAME-training beside the output; --resume goes on from there. Several processes: accelerate
    launch -m mezzotint lora train …
    """,
)
