"""From a folder and settings to a training set and pictures held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mezzotint import Pipeline

from .data.buckets import Buckets
from .data.captions import parts_of
from .data.dataset import Dataset
from .data.folder import read_folder
from .data.images import may_be_transparent
from .data.item import Captioning, Item
from .data.reading import hold_out, with_captions, with_sizes
from .data.subsets import Subsets, read_subsets
from .data.text_files import check_characters
from .dependent_options import asked_for, laid_over, unmet
from .encoding.text import check_clip_skip
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
        data: a folder, a TOML file in kohya's format, or items. What a TOML file says of its data sets gives way to
            what is set; how captions are varied is what the picture's own subset or item says, then what is set.

    Raises:
        DataError: a file is missing, malformed or damaged, or there is no caption; what to do is said.
        TrainingError: an extension is attached to the model, it has several text encoders, sizes of buckets or `clip_skip` do not fit it, or an option is set
            that does nothing with these pictures.
    """
    if pipe.attached:
        names = ", ".join(sorted({extension.extension_name for extension in pipe.attached}))
        raise TrainingError(
            f"{names} is attached to the model (using), which a training would neither see nor remember; leave it first, or "
            "train on a model that it was merged into"
        )
    if len(pipe.text_encoders) > 1:
        raise TrainingError(
            f"{pipe.source.name} has {len(pipe.text_encoders)} text encoders ({pipe.components.family.title}); training "
            "is for models with one, such as Stable Diffusion 1.x"
        )
    check_clip_skip(pipe.text_encoder, settings.clip_skip)
    root = Path()
    captioning = _captioning(settings)
    if isinstance(data, (str, Path)):
        root = Path(data)
        subsets = read_data(root, captioning)
        items = subsets.items
        if "resolution" in settings.model_fields_set:
            items = [replace(item, resolution=None) for item in items]
        settings = settings.over(_effective(subsets.settings, settings))
    else:
        items = [replace(item, captioning=_filled(item.captioning, captioning)) for item in data]
    if settings.prior_data is not None:
        template = Item(settings.prior_data, captioning=captioning, is_prior=True)
        items = [*items, *read_folder(settings.prior_data, template)]
    found = [_with_settings(item, settings) for item in items]
    items = with_captions(
        found, settings.missing_captions, settings.caption_of_others, settings.prior_caption
    )
    for item in items:
        for caption in item.captions:
            check_characters(caption, str(item.path))
    if not items:
        raise DataError(f"{data}: no picture is left to train on")
    if all(item.is_prior for item in items):
        raise DataError(
            f"{data}: every picture is of the class (is_reg); one at least has to show the subject"
        )
    _check_effect(settings, found, items)
    if settings.cache != "off" and any(item.random_crop for item in items):
        raise TrainingError(
            f"{data} asks for random_crop, which needs cache=off, as every cut has other latents"
        )
    # Without a cache, a damaged file would be met in the middle of the training.
    items = with_sizes(items, settings.bad_images, decode=settings.cache == "off")
    if "alpha_masks" in asked_for(settings) and not any(may_be_transparent(item) for item in items):
        raise TrainingError("alpha_masks does nothing, as no picture has transparency; leave alpha_masks out")
    buckets = buckets_of(settings, pipe)
    for resolution in sorted({item.resolution for item in items if item.resolution}):
        _check_sizes(replace(buckets, resolution=resolution), pipe)
    training, held_out = hold_out(items, settings.validation, root)
    if settings.validation and not held_out:
        raise TrainingError(
            "validation needs two pictures or more, as one has to stay to train on; leave validation out"
        )
    return TrainingData(Dataset.placed(training, buckets), Dataset.placed(held_out, buckets), settings)


def buckets_of(settings: TrainingSettings, pipe: Pipeline) -> Buckets:
    """kohya's buckets, in proportion for models that are smaller than 512 pixels.

    Raises:
        TrainingError: the sizes do not fit the model.
    """
    resolution = settings.resolution or pipe.native_size
    multiple = _multiple(pipe)
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
    _check_sizes(buckets, pipe)
    return buckets


def _multiple(pipe: Pipeline) -> int:
    """What sides of pictures are multiples of, in pixels."""
    return pipe.vae_scale_factor * 2 ** (len(pipe.unet.config.block_out_channels) - 1)


def _check_sizes(buckets: Buckets, pipe: Pipeline) -> None:
    multiple = _multiple(pipe)
    width, height = buckets.resolution
    sides = {"bucket_step": buckets.step} if buckets.enabled else {"width": width, "height": height}
    for what, value in sides.items():
        if value % multiple:
            raise TrainingError(f"{what} is {value}; this model needs multiples of {multiple}")
    if buckets.enabled and buckets.minimum > buckets.maximum:
        raise TrainingError(f"bucket_min {buckets.minimum} is above bucket_max {buckets.maximum}")
    if buckets.enabled and width * height < buckets.step**2:
        raise TrainingError(
            f"a resolution of {width}x{height} is less than a bucket of {buckets.step}x{buckets.step}; choose a larger "
            "one, or a smaller bucket_step"
        )


def read_data(path: Path, captioning: Captioning | None = None) -> Subsets:
    """The pictures of a folder or of a TOML file of kohya's, as they are found; none is opened.

    Args:
        captioning: how captions are varied where nothing else is said.

    Raises:
        DataError: it is missing, empty or malformed.
    """
    captioning = captioning or Captioning()
    if path.suffix != ".toml":
        return Subsets(read_folder(path, Item(path, captioning=captioning)))
    if not path.is_file():
        raise DataError(f"{path} is missing")
    return read_subsets(path, captioning)


def _effective(said: Mapping[str, Any], settings: TrainingSettings) -> dict[str, Any]:
    """What a file says, without sizes of buckets where it switches buckets off: kohya's files have them in any case."""
    if "buckets" in settings.model_fields_set or said.get("buckets", True):
        return dict(said)
    return laid_over(said, {"buckets": False}, type(settings))


def _check_effect(settings: TrainingSettings, found: Sequence[Item], items: Sequence[Item]) -> None:
    """Refuse options that are set and change nothing about these pictures, whose subsets may have told what they need.

    Args:
        found: every picture, with the captions that it came with.
        items: those that are not skipped.

    Raises:
        TrainingError: which, and what it needs.
    """
    asked = asked_for(settings)
    varied = any(item.captioning.shuffle or item.captioning.tag_dropout for item in items)
    for need, option in unmet(settings):
        if option == "keep_tokens" and not varied:
            raise TrainingError(need.refusal(option, partial(getattr, settings)))
    if "shuffle_captions" in asked and not any(map(_can_be_shuffled, items)):
        raise TrainingError(
            "shuffle_captions does nothing, as no caption that may be shuffled has two parts to move; leave shuffle_captions out"
        )
    for option in ("prior_data", "prior_caption", "prior_weight"):
        if option in asked and not any(item.is_prior for item in items):
            why = (
                ", as every picture of the class is skipped, having no caption; give one for all with prior_caption"
                if any(item.is_prior for item in found)
                else " without pictures of the class; name their folder (prior_data)"
            )
            raise TrainingError(f"{option} does nothing{why}, or leave {option} out")
    subject = "picture of the subject" if any(item.is_prior for item in found) else "picture"
    for option, is_prior, which in (
        ("caption", False, subject),
        ("prior_caption", True, "picture of the class"),
    ):
        if option in asked and all(item.captions for item in found if item.is_prior == is_prior):
            raise TrainingError(
                f"{option} does nothing, as every {which} has a caption of its own; leave {option} out"
            )
    if "masks" in asked and not any(item.mask for item in items):
        why = (
            "every picture with a mask is skipped, having no caption; write one beside it"
            if any(item.mask for item in found)
            else "no picture has one; put NAME.mask.png beside NAME.jpg"
        )
        raise TrainingError(f"masks does nothing, as {why}, or leave masks out")


def _can_be_shuffled(item: Item) -> bool:
    how = item.captioning
    if not how.shuffle:
        return False
    whole = (" ".join((how.prefix, caption, how.suffix)) for caption in item.captions)
    return any(len(parts_of(caption, how.separator)) - how.keep_tokens > 1 for caption in whole)


def _captioning(settings: TrainingSettings) -> Captioning:
    return Captioning(
        shuffle=settings.shuffle_captions,
        keep_tokens=settings.keep_tokens,
        dropout=settings.caption_dropout,
        tag_dropout=settings.tag_dropout,
    )


def _filled(own: Captioning, captioning: Captioning) -> Captioning:
    """An item's own, and what is set in fields that it leaves to their defaults."""
    default = asdict(Captioning())
    return replace(captioning, **{k: v for k, v in asdict(own).items() if v != default[k]})


def _with_settings(item: Item, settings: TrainingSettings) -> Item:
    """What the settings ask of all pictures."""
    return replace(
        item,
        flip=item.flip or settings.flip,
        random_crop=item.random_crop or settings.random_crop,
        alpha_mask=item.alpha_mask or settings.alpha_masks,
        mask=item.mask if settings.masks else None,
    )
