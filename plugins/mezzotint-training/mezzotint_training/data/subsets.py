"""kohya's data set files: TOML with general settings, data sets and their subsets.

The format is that of sd-scripts' `docs/config_README-en.md`. Options that change how a picture is varied and that this
trainer lacks are an error, not left out in silence.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mezzotint.errors import suggest

from ..errors import DataError
from .folder import read_folder, same_name_in
from .item import Captioning, Item

_DATASET = {
    "resolution": None,
    "batch_size": "batch_size",
    "enable_bucket": "buckets",
    "min_bucket_reso": "bucket_min",
    "max_bucket_reso": "bucket_max",
    "bucket_reso_steps": "bucket_step",
    "bucket_no_upscale": "bucket_no_upscale",
}
"""Options of a data set, and the training's setting of that meaning."""
_SUBSET = (
    "image_dir",
    "metadata_file",
    "class_tokens",
    "caption_extension",
    "num_repeats",
    "is_reg",
    "shuffle_caption",
    "keep_tokens",
    "caption_separator",
    "caption_dropout_rate",
    "caption_tag_dropout_rate",
    "caption_prefix",
    "caption_suffix",
    "flip_aug",
    "random_crop",
    "alpha_mask",
    "conditioning_data_dir",
)
_LACKING = (
    "color_aug",
    "face_crop_aug_range",
    "caption_dropout_every_n_epochs",
    "keep_tokens_separator",
    "secondary_separator",
    "enable_wildcard",
    "token_warmup_min",
    "token_warmup_step",
    "custom_attributes",
    "network_multiplier",
)
_NO_EFFECT = (
    "cache_info",
    "skip_image_resolution",
    "validation_seed",
    "validation_split",
    "resize_interpolation",
)
_DEFAULTS = {"token_warmup_min": 1, "network_multiplier": 1.0}


@dataclass(frozen=True)
class Subsets:
    """What such a file says."""

    items: list[Item]
    settings: dict[str, Any] = field(default_factory=dict)
    """By the training's own names; they give way to what is set for the training itself."""


def read_subsets(path: Path) -> Subsets:
    """The pictures of all subsets, and the settings that the data sets share.

    Raises:
        DataError: it is not TOML, an option is unknown or lacking here, or two data sets disagree.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not TOML: {error}") from None
    general = content.pop("general", {})
    datasets = content.pop("datasets", None)
    if content:
        raise DataError(f"{path}: no table {next(iter(content))!r}; there are general and datasets")
    if not isinstance(datasets, list) or not datasets:
        raise DataError(f"{path} has no [[datasets]]")
    items: list[Item] = []
    settings: dict[str, Any] = {}
    for dataset in datasets:
        subsets = dataset.pop("subsets", None)
        if not subsets:
            raise DataError(f"{path}: a data set has no [[datasets.subsets]]")
        _check(path, {**general, **dataset})
        for name, ours in _DATASET.items():
            value = dataset.get(name, general.get(name))
            if ours is None or value is None:
                continue
            if settings.setdefault(ours, value) != value:
                raise DataError(
                    f"{path}: data sets disagree about {name}: {settings[ours]} and {value}; train them apart"
                )
        resolution = _resolution(path, dataset.get("resolution", general.get("resolution")))
        for subset in subsets:
            _check(path, subset)
            merged = {**general, **dataset, **subset}
            items += [replace(item, resolution=resolution) for item in _read_subset(path, merged)]
    return Subsets(items, settings)


def _check(path: Path, options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name in _LACKING and value not in (None, False, 0, "", [], _DEFAULTS.get(name)):
            raise DataError(f"{path}: {name} is not supported here; take it out of the file")
        if name not in (*_DATASET, *_SUBSET, *_LACKING, *_NO_EFFECT):
            raise DataError(f"{path}: no option {name!r}; {suggest(name, (*_DATASET, *_SUBSET))}")


def _read_subset(path: Path, options: Mapping[str, Any]) -> list[Item]:
    if not options.get("image_dir"):
        raise DataError(f"{path}: a subset has no image_dir")
    folder = path.parent / options["image_dir"]
    template = Item(
        folder,
        captioning=Captioning(
            shuffle=options.get("shuffle_caption", False),
            keep_tokens=options.get("keep_tokens", 0),
            separator=options.get("caption_separator", ","),
            dropout=options.get("caption_dropout_rate", 0.0),
            tag_dropout=options.get("caption_tag_dropout_rate", 0.0),
            prefix=options.get("caption_prefix") or "",
            suffix=options.get("caption_suffix") or "",
        ),
        repeats=options.get("num_repeats", 1),
        is_prior=options.get("is_reg", False),
        flip=options.get("flip_aug", False),
        random_crop=options.get("random_crop", False),
        alpha_mask=options.get("alpha_mask", False),
    )
    items = read_folder(
        folder, template, caption_suffixes=(options.get("caption_extension", ".caption"), ".txt")
    )
    if options.get("metadata_file"):
        items = _with_metadata(items, path.parent / options["metadata_file"])
    if options.get("class_tokens"):
        items = [replace(item, captions=item.captions or (options["class_tokens"],)) for item in items]
    if options.get("conditioning_data_dir"):
        maps = path.parent / options["conditioning_data_dir"]
        items = [replace(item, conditioning=same_name_in(maps, item.path)) for item in items]
    return items


def _with_metadata(items: list[Item], path: Path) -> list[Item]:
    """Captions from kohya's `metadata_file`: JSON from image key to `{"caption": …, "tags": …}`."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from None
    by_name = {Path(key).stem: row for key, row in rows.items()}
    found = []
    for item in items:
        row = by_name.get(item.path.stem, {})
        text = ", ".join(part for part in (row.get("caption"), row.get("tags")) if part)
        found.append(replace(item, captions=(text,) if text else item.captions))
    return found


def _resolution(path: Path, value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    numbers = [value, value] if isinstance(value, int) else list(value)
    if len(numbers) != 2 or not all(isinstance(number, int) and number > 0 for number in numbers):
        raise DataError(f"{path}: resolution is a number or [width, height], not {value!r}")
    return numbers[0], numbers[1]
