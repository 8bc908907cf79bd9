"""What a trained file says about itself, in kohya's words (`ss_…`) and those of modelspec 1.0.1.

Sources: kohya-ss/sd-scripts `train_network.py`, `library/sai_model_spec.py`.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mezzotint import Pipeline
from mezzotint_training import Facts
from mezzotint_training.data.captions import tag_frequency
from mezzotint_training.data.item import Item
from mezzotint_training.data.order import Order

from ..adapter import Delta
from ..network_words import ALPHA, DIM, ranks_and_alphas
from .settings import LoRASettings

_MODULES = {"lora": "networks.lora", "loha": "lycoris.kohya", "lokr": "lycoris.kohya"}


def metadata_of(
    path: Path,
    facts: Facts,
    settings: LoRASettings,
    pipe: Pipeline,
    prediction_type: str,
    deltas: Collection[Delta],
) -> dict[str, str]:
    """Of the file with these deltas; every value is text, as safetensors wants it."""
    now = time.time()
    # The start of PiSSA and OLoRA is saved within, and rsLoRA's scale as alpha; a Kronecker product may have no rank.
    saved = ranks_and_alphas(deltas) if settings.kind == "lora" else {}
    title = settings.title or path.stem
    width, height = settings.resolution or pipe.native_size
    items = facts.dataset.items
    subjects = [item for item in items if not item.is_prior]
    captions = [caption for item in subjects for caption in item.captions]
    order = facts.dataset.order(settings.batch_size)
    batches = order.batches_per_epoch
    last = settings.steps_of(batches, facts.processes)
    steps_of_epoch = batches / (settings.accumulate * facts.processes)
    words: dict[str, Any] = {
        "ss_output_name": path.stem,
        "ss_network_module": _MODULES[settings.kind],
        "ss_network_dim": saved.get(DIM, settings.rank),
        "ss_network_alpha": saved.get(ALPHA, settings.alpha_of(settings.rank, conv=False)),
        "ss_network_args": json.dumps(_network_args(settings, saved)),
        "ss_network_dropout": settings.dropout or None,
        "ss_base_model_version": _version(pipe, prediction_type),
        "ss_sd_model_name": Path(pipe.source.name).name,
        "ss_sd_model_hash": pipe.fingerprint or None,
        "ss_v2": pipe.unet.config.cross_attention_dim == 1024,
        "ss_zero_terminal_snr": settings.zero_terminal_snr,
        "ss_resolution": f"({width}, {height})",
        "ss_enable_bucket": settings.buckets,
        "ss_bucket_info": json.dumps(_buckets(order)),
        "ss_datasets": json.dumps(_datasets(facts, width, height)),
        "ss_tag_frequency": json.dumps({_folder(subjects): tag_frequency(captions, ",")}),
        "ss_num_train_images": sum(item.repeats for item in subjects),
        "ss_num_reg_images": sum(item.repeats for item in items if item.is_prior),
        "ss_num_batches_per_epoch": batches,
        "ss_num_epochs": math.ceil(last / steps_of_epoch),
        "ss_batch_size_per_device": settings.batch_size,
        "ss_total_batch_size": settings.batch_size * facts.processes * settings.accumulate,
        "ss_gradient_accumulation_steps": settings.accumulate,
        "ss_gradient_checkpointing": settings.gradient_checkpointing,
        "ss_mixed_precision": settings.mixed_precision,
        "ss_steps": facts.step,
        "ss_max_train_steps": last,
        # kohya counts the epoch that is under way.
        "ss_epoch": math.ceil(facts.step / steps_of_epoch),
        "ss_learning_rate": settings.rate,
        "ss_unet_lr": settings.rate,
        "ss_text_encoder_lr": settings.text_encoder_rate if settings.train_text_encoder else None,
        "ss_loraplus_lr_ratio": settings.lora_plus,
        "ss_optimizer": settings.optimizer,
        "ss_lr_scheduler": settings.schedule,
        "ss_lr_warmup_steps": settings.warmup_steps,
        "ss_max_grad_norm": settings.max_grad_norm,
        "ss_min_snr_gamma": settings.min_snr_gamma,
        "ss_noise_offset": settings.noise_offset or None,
        "ss_ip_noise_gamma": settings.input_perturbation or None,
        "ss_prior_loss_weight": settings.prior_weight,
        "ss_masked_loss": settings.masks or settings.alpha_masks,
        **_alike([_varied(item) for item in subjects]),
        "ss_clip_skip": settings.clip_skip or None,
        "ss_cache_latents": settings.cache != "off",
        "ss_ema_decay": settings.ema,
        "ss_seed": settings.seed,
        "ss_training_comment": settings.comment,
        "ss_training_started_at": facts.started,
        "ss_training_finished_at": now,
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{_architecture(pipe)}/{settings.kind}",
        "modelspec.implementation": "diffusers",
        "modelspec.title": title,
        "modelspec.author": settings.author,
        "modelspec.license": settings.license,
        "modelspec.description": settings.comment,
        "modelspec.resolution": f"{width}x{height}",
        "modelspec.prediction_type": {"v_prediction": "v"}.get(prediction_type, prediction_type),
        "modelspec.encoder_layer": settings.clip_skip + 1,
        "modelspec.date": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)),
        "modelspec.trigger_phrase": settings.trigger
        or (settings.caption if settings.caption in captions else None),
    }
    return {name: str(value) for name, value in words.items() if value is not None}


def _network_args(settings: LoRASettings, saved: Mapping[str, str]) -> dict[str, str]:
    chosen: dict[str, Any] = {"algo": settings.kind} if settings.kind != "lora" else {}
    if settings.targets == "all":
        conv_rank = settings.conv_rank or settings.rank
        asked = {"conv_dim": conv_rank, "conv_alpha": settings.alpha_of(conv_rank, conv=True)}
        chosen |= {name: saved.get(name, value) for name, value in asked.items()}
    for name in ("dora", "rslora"):
        if getattr(settings, name):
            chosen[name] = True
    if settings.init != "default":
        chosen["init"] = settings.init
    return {name: str(value) for name, value in chosen.items()}


def _version(pipe: Pipeline, prediction_type: str) -> str:
    """kohya's `sd_v1` and `sd_v2_v`; another model's own name."""
    known = {768: "sd_v1", 1024: "sd_v2"}.get(pipe.unet.config.cross_attention_dim)
    if known is None or pipe.unet.config.in_channels != 4:
        return Path(pipe.source.name).name
    return f"{known}_v" if prediction_type == "v_prediction" and known == "sd_v2" else known


def _architecture(pipe: Pipeline) -> str:
    version = _version(pipe, "")
    return {"sd_v1": "stable-diffusion-v1", "sd_v2": "stable-diffusion-v2-512"}.get(version, version)


def _buckets(order: Order) -> dict[str, Any]:
    """kohya's count of each bucket, with the repeats of the smaller one of subject and class."""
    return {
        "buckets": {
            str(number): {"resolution": list(size), "count": count}
            for number, (size, count) in enumerate(order.bucket_counts.items())
        },
        "mean_img_ar_error": None,
    }


def _varied(item: Item) -> dict[str, Any]:
    """How a picture and its caption are varied, in the words of kohya's subsets."""
    how = item.captioning
    return {
        "shuffle_caption": how.shuffle,
        "keep_tokens": how.keep_tokens,
        "caption_dropout_rate": how.dropout,
        "caption_tag_dropout_rate": how.tag_dropout,
        "caption_prefix": how.prefix or None,
        "caption_suffix": how.suffix or None,
        "flip_aug": item.flip,
        "random_crop": item.random_crop,
    }


def _alike(of_items: list[dict[str, Any]]) -> dict[str, Any]:
    """`ss_` words for what is the same of all; the rest stands in `ss_datasets`."""
    return {
        f"ss_{name}": value
        for name, value in of_items[0].items()
        if all(other[name] == value for other in of_items)
    }


def _datasets(facts: Facts, width: int, height: int) -> list[dict[str, Any]]:
    counts: Counter[str] = Counter()
    for item in facts.dataset.items:
        facts_of_subset = {
            "image_dir": item.path.parent.name,
            "num_repeats": item.repeats,
            "is_reg": item.is_prior,
            **_varied(item),
        }
        counts[json.dumps(facts_of_subset)] += 1
    return [
        {
            "resolution": [width, height],
            "batch_size_per_device": facts.settings.batch_size,
            "enable_bucket": facts.settings.buckets,
            "subsets": [{**json.loads(subset), "img_count": count} for subset, count in counts.items()],
        }
    ]


def _folder(items: list[Any]) -> str:
    return items[0].path.parent.name if items else ""
