"""What other trainers call their options, so that an unknown one is answered with the name that it has here.

Sources: kohya-ss/sd-scripts `library/train_util.py`, `train_network.py`; diffusers `examples/dreambooth`,
`examples/text_to_image`, `examples/controlnet`, `examples/textual_inversion`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

_ELSEWHERE = {
    # Of the command, not of the settings.
    "pretrained_model_name_or_path": "model",
    "resume_from_checkpoint": "resume",
    "output_dir": "output",
    "output_name": "output",
    # How long and how much at once.
    "max_train_steps": "steps",
    "num_train_steps": "steps",
    "max_train_epochs": "epochs",
    "num_train_epochs": "epochs",
    "train_batch_size": "batch_size",
    "gradient_accumulation_steps": "accumulate",
    # Pictures.
    "enable_bucket": "buckets",
    "min_bucket_reso": "bucket_min",
    "max_bucket_reso": "bucket_max",
    "bucket_reso_steps": "bucket_step",
    "flip_aug": "flip",
    "random_flip": "flip",
    "masked_loss": "masks",
    "alpha_mask": "alpha_masks",
    "conditioning_data_dir": "maps",
    # Captions.
    "instance_prompt": "caption",
    "shuffle_caption": "shuffle_captions",
    "caption_dropout_rate": "caption_dropout",
    "caption_tag_dropout_rate": "tag_dropout",
    "placeholder_token": "token",
    "num_vectors": "vectors",
    "initializer_token": "init",
    # What is computed once.
    "cache_latents": "cache=memory",
    "cache_latents_to_disk": "cache=disk",
    # Loss.
    "v_parameterization": "prediction_type=v_prediction",
    "snr_gamma": "min_snr_gamma",
    "ip_noise_gamma": "input_perturbation",
    "with_prior_preservation": "prior_data",
    "class_data_dir": "prior_data",
    "reg_data_dir": "prior_data",
    "class_prompt": "prior_caption",
    "prior_loss_weight": "prior_weight",
    # Optimizer.
    "optimizer_type": "optimizer",
    "use_8bit_adam": "optimizer=adamw-8bit",
    "lr": "learning_rate",
    "unet_lr": "learning_rate",
    "text_encoder_lr": "text_encoder_learning_rate",
    "lr_scheduler": "schedule",
    "lr_warmup_steps": "warmup_steps",
    "adam_weight_decay": "weight_decay",
    "use_ema": "ema",
    # What is seen meanwhile.
    "validation_split": "validation",
    "validate_every_n_steps": "validate_every",
    "validation_prompt": "sample_prompts=FILE",
    "sample_every_n_steps": "sample_every",
    "report_to": "tensorboard",
    # Checkpoints.
    "save_every_n_steps": "save_every",
    "checkpointing_steps": "save_every",
    "checkpoints_total_limit": "keep",
    "save_precision": "save_dtype",
    # LoRA.
    "network_module": "kind",
    "network_args": "conv_rank",
    "network_dim": "rank",
    "network_alpha": "alpha",
    "network_dropout": "dropout",
    "conv_dim": "conv_rank",
    "lora_rank": "rank",
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "loraplus_lr_ratio": "lora_plus",
    "use_dora": "dora",
}
"""Their name → ours, with the value where it is said by one."""
_ONLY_BESIDE = {"initializer_token": "token"}
"""Their name → the option without which ours means something else: a LoRA's `init` is a kind of start."""
_DATA = "give the pictures as DATA, a folder or a TOML file of kohya's"
_ATTENTION = "none is needed: torch's own attention is used, which takes as little memory"
_SENTENCES = {
    "train_data_dir": _DATA,
    "dataset_config": _DATA,
    "data": _DATA,
    "center_crop": "none is needed: without buckets (--no-buckets) pictures are cut in the middle",
    "xformers": _ATTENTION,
    "enable_xformers_memory_efficient_attention": _ATTENTION,
}
"""Names for which there is no option, and what to do instead."""
_OF_THE_COMMAND = ("model", "device", "dtype", "output", "resume", "quiet", "config")
"""Options of the command that trains; in Python, arguments of what is called."""


def names_elsewhere(options: Container[str]) -> dict[str, str]:
    """Those of other trainers' names that mean one of these options, with what to write instead."""
    return {
        theirs: ours
        for theirs, ours in _ELSEWHERE.items()
        if ours.partition("=")[0] in options and _ONLY_BESIDE.get(theirs, ours.partition("=")[0]) in options
    }


def answer(name: str, value: object, options: Container[str]) -> str | None:
    """What to do in place of an option that is not one of these, where no other one stands for it.

    Args:
        value: that it was given; a table of a TOML file is a mapping.
    """
    if name in _SENTENCES:
        return _SENTENCES[name]
    ours = _ELSEWHERE.get(name, name)
    if ours in _OF_THE_COMMAND and ours not in options:
        return f"it stands on the command line, --{ours}, and in Python in the call"
    if isinstance(value, Mapping):
        return "options stand at the top level of the file, without a table"
    return None
