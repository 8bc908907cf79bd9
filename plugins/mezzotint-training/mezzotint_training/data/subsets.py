"""kohya's data set files: TOML with general settings, data sets and their subsets.

The format is that of sd-scripts' `docs/config_README-en.md`. Options that change how a picture is varied and that this
trainer lacks are an error, not left out in silence.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import DataError
from .buckets import Size
from .folder import read_folder, same_name_in
from .item import Captioning, Item
from .kohya_options import KohyaOptions, read_options
from .text_files import check_characters, parse_json, read_text

_SETTINGS = {
    "batch_size": "batch_size",
    "enable_bucket": "buckets",
    "min_bucket_reso": "bucket_min",
    "max_bucket_reso": "bucket_max",
    "bucket_reso_steps": "bucket_step",
    "bucket_no_upscale": "bucket_no_upscale",
}
"""Options of a data set, and the training's setting of that meaning."""
_CAPTIONING = {
    "shuffle_caption": "shuffle",
    "keep_tokens": "keep_tokens",
    "caption_separator": "separator",
    "caption_dropout_rate": "dropout",
    "caption_tag_dropout_rate": "tag_dropout",
    "caption_prefix": "prefix",
    "caption_suffix": "suffix",
}
"""Options of a subset, and the field of `Captioning`."""


@dataclass(frozen=True)
class Subsets:
    """What such a file says."""

    items: list[Item]
    """With a resolution of their own where the data sets have several."""
    settings: dict[str, Any] = field(default_factory=dict)
    """By the training's own names; they give way to what is set for the training itself."""


def read_subsets(path: Path, captioning: Captioning | None = None) -> Subsets:
    """The pictures of all subsets, and the settings that the data sets share.

    Args:
        captioning: what holds where a subset does not say how captions are varied, field by field.

    Raises:
        DataError: it is not TOML, an option is unknown, lacking here or malformed, or two data sets disagree.
    """
    general, datasets = _tables(path)
    read_options(general, f"{path}, [general]")
    read: list[tuple[KohyaOptions, list[Item]]] = []
    for number, dataset in enumerate(datasets, 1):
        where = f"{path}, data set {number}"
        subsets = dataset.pop("subsets", None)
        if not subsets:
            raise DataError(f"{path}: a data set has no [[datasets.subsets]]")
        subsets = _list_of_tables(subsets, f"{where}: subsets", "[[datasets.subsets]]")
        read_options(dataset, where)
        items: list[Item] = []
        for place, subset in enumerate(subsets, 1):
            within = f"{where}, subset {place}"
            # Apart first, so that an error names the table that it is in.
            read_options(subset, within)
            _refuse_of_data_sets(subset, within)
            options = read_options({**general, **dataset, **subset}, within)
            items += _read_subset(path, options, captioning or Captioning())
        read.append((read_options({**general, **dataset}, where), items))
    settings = _shared_settings(path, [options for options, _ in read])
    own: list[Size | None] = [options.resolution for options, _ in read]
    if len(set(own)) == 1:
        if own[0] is not None:
            settings["resolution"] = own[0]
        own = [None] * len(read)
    items = [
        replace(item, resolution=resolution)
        for (_, of_dataset), resolution in zip(read, own, strict=True)
        for item in of_dataset
    ]
    return Subsets(items, settings)


def _tables(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """`[general]` and every `[[datasets]]`."""
    try:
        content = tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DataError(f"{path} is not TOML: {error}") from None
    general = content.pop("general", {})
    datasets = content.pop("datasets", None)
    if content:
        raise DataError(f"{path}: no table {next(iter(content))!r}; there are general and datasets")
    if not isinstance(general, dict):
        raise DataError(f"{path}: general is a table of options, [general], not {general!r}")
    if not isinstance(datasets, list) or not datasets:
        raise DataError(f"{path} has no [[datasets]]")
    return general, _list_of_tables(datasets, f"{path}: datasets", "[[datasets]]")


def _list_of_tables(value: Any, where: str, written: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise DataError(f"{where} is a list of tables, each written below {written}, not {value!r}")
    return value


def _refuse_of_data_sets(subset: dict[str, Any], where: str) -> None:
    for name in subset:
        if name in _SETTINGS or name == "resolution":
            raise DataError(
                f"{where}: {name} is the same in all subsets of a data set; write it below [[datasets]]"
            )


def _shared_settings(path: Path, datasets: list[KohyaOptions]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for options in datasets:
        for name, ours in _SETTINGS.items():
            value = getattr(options, name)
            if value is not None and settings.setdefault(ours, value) != value:
                raise DataError(
                    f"{path}: data sets disagree about {name}: {settings[ours]} and {value}; train them apart"
                )
    return settings


def _read_subset(path: Path, options: KohyaOptions, captioning: Captioning) -> list[Item]:
    if not options.image_dir:
        raise DataError(f"{path}: a subset has no image_dir")
    folder = path.parent / options.image_dir
    said = {ours: getattr(options, name) for name, ours in _CAPTIONING.items()}
    template = Item(
        folder,
        captioning=replace(captioning, **{ours: value for ours, value in said.items() if value is not None}),
        repeats=options.num_repeats,
        is_prior=options.is_reg,
        flip=options.flip_aug,
        random_crop=options.random_crop,
        alpha_mask=options.alpha_mask,
    )
    items = read_folder(folder, template, caption_suffixes=(options.caption_extension, ".txt"))
    if options.metadata_file:
        items = _with_metadata(items, path.parent / options.metadata_file)
    if options.class_tokens:
        items = [replace(item, captions=item.captions or (options.class_tokens,)) for item in items]
    if options.conditioning_data_dir:
        maps = path.parent / options.conditioning_data_dir
        items = [replace(item, conditioning=same_name_in(maps, item.path)) for item in items]
    return items


def _with_metadata(items: list[Item], path: Path) -> list[Item]:
    """Captions from kohya's `metadata_file`: JSON from image key to `{"caption": …, "tags": …}`."""
    rows = parse_json(read_text(path), str(path))
    if not isinstance(rows, dict):
        raise DataError(f'{path} is no object from picture to {{"caption": …, "tags": …}}')
    by_name = {Path(key).stem: _caption(row, f"{path}, {key!r}") for key, row in rows.items()}
    return [
        replace(item, captions=(text,)) if (text := by_name.get(item.path.stem)) else item for item in items
    ]


def _caption(row: Any, where: str) -> str:
    if not isinstance(row, dict):
        raise DataError(f'{where}: what belongs to a picture is an object {{"caption": …, "tags": …}}')
    parts = [row[name] for name in ("caption", "tags") if row.get(name)]
    if not all(isinstance(part, str) for part in parts):
        raise DataError(f"{where}: caption and tags are texts")
    text = ", ".join(parts)
    check_characters(text, where)
    return text
