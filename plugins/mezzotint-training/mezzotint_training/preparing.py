"""From a folder and settings to a training set and pictures held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mezzotint import Pipeline

from .data.buckets import Buckets
from .data.dataset import Dataset
from .data.folder import read_folder
from .data.item import Captioning, Item
from .data.reading import hold_out, with_captions, with_sizes
from .data.subsets import read_subsets
from .errors import DataError, TrainingError
from .settings import TrainingSettings


@dataclass(frozen=True)
class TrainingData:
    """What is trained on, what is only measured on, and the settings with what the data's file says filled in."""

    training: Dataset
    held_out: Dataset
    settings: TrainingSettings


def prepare(data: Path | str | Sequence[Item], settings: TrainingSettings, pipe: Pipeline) -> TrainingData:
    """Read the pictures' headers and captions and place every picture in its bucket.

    Args:
        data: a folder, a TOML file in kohya's format, or items.

    Raises:
        DataError: a file is missing, malformed or damaged, or there is no caption; what to do is said.
        TrainingError: the model has several text encoders, or sizes of buckets do not fit it.
    """
    if len(pipe.text_encoders) > 1:
        raise TrainingError(
            f"{pipe.source.name} has {len(pipe.text_encoders)} text encoders ({pipe.components.family.title}); training "
            "is for models with one, such as Stable Diffusion 1.x"
        )
    root = Path()
    if isinstance(data, (str, Path)):
        root = Path(data)
        items, said = _read(root)
        settings = settings.replaced(**{k: v for k, v in said.items() if k not in settings.model_fields_set})
    else:
        items = list(data)
    items = with_captions(
        [_with_settings(item, settings) for item in items], settings.missing_captions, settings.caption
    )
    if settings.prior_data is not None:
        prior = [
            replace(_with_settings(item, settings), is_prior=True)
            for item in read_folder(settings.prior_data)
        ]
        items += with_captions(prior, settings.missing_captions, settings.prior_caption)
    if not items:
        raise DataError(f"{data}: no picture is left to train on")
    if all(item.is_prior for item in items):
        raise DataError(
            f"{data}: every picture is of the class (is_reg); one at least has to show the subject"
        )
    if settings.cache != "off" and any(item.random_crop for item in items):
        raise TrainingError(
            f"{data} asks for random_crop, which needs cache=off, as every cut has other latents"
        )
    # Without a cache, a damaged file would be met in the middle of the training.
    items = with_sizes(items, settings.bad_images, decode=settings.cache == "off")
    buckets = buckets_of(settings, pipe)
    training, held_out = hold_out(items, settings.validation, root)
    return TrainingData(Dataset.placed(training, buckets), Dataset.placed(held_out, buckets), settings)


def buckets_of(settings: TrainingSettings, pipe: Pipeline) -> Buckets:
    """kohya's buckets, in proportion for models that are smaller than 512 pixels.

    Raises:
        TrainingError: the sizes do not fit the model.
    """
    resolution = settings.resolution or pipe.native_size
    multiple = pipe.vae_scale_factor * 2 ** (len(pipe.unet.config.block_out_channels) - 1)
    share = min(1.0, max(resolution) / 512)
    step = settings.bucket_step or max(multiple, int(64 * share) // multiple * multiple)
    buckets = Buckets(
        resolution,
        settings.buckets,
        settings.bucket_min or max(step, int(256 * share) // step * step),
        settings.bucket_max or max(step, int(1024 * share) // step * step),
        step,
        settings.bucket_no_upscale,
    )
    sides = (
        {"bucket_step": step} if settings.buckets else dict(zip(("width", "height"), resolution, strict=True))
    )
    for what, value in sides.items():
        if value % multiple:
            raise TrainingError(f"{what} is {value}; this model needs multiples of {multiple}")
    if settings.buckets and buckets.minimum > buckets.maximum:
        raise TrainingError(f"bucket_min {buckets.minimum} is above bucket_max {buckets.maximum}")
    return buckets


def _read(path: Path) -> tuple[list[Item], dict[str, object]]:
    if path.suffix == ".toml":
        if not path.is_file():
            raise DataError(f"{path} is missing")
        subsets = read_subsets(path)
        return subsets.items, subsets.settings
    return read_folder(path), {}


def _with_settings(item: Item, settings: TrainingSettings) -> Item:
    """What the settings say for all pictures, where a picture's own subset says nothing."""
    captioning = item.captioning
    if captioning == Captioning():
        captioning = Captioning(
            shuffle=settings.shuffle_captions,
            keep_tokens=settings.keep_tokens,
            dropout=settings.caption_dropout,
            tag_dropout=settings.tag_dropout,
        )
    return replace(
        item,
        captioning=captioning,
        flip=item.flip or settings.flip,
        random_crop=item.random_crop or settings.random_crop,
        alpha_mask=item.alpha_mask or settings.alpha_masks,
        mask=item.mask if settings.masks else None,
    )
