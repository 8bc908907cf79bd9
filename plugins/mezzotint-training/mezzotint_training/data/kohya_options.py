"""The options in kohya's data set files, with their types and bounds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mezzotint.errors import option_errors
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..errors import DataError
from .buckets import Size

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


class KohyaOptions(BaseModel):
    """What `[general]`, a data set or a subset may say; `None` where it does not, and the training's settings hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    # Of a data set.
    resolution: Size | None = None
    batch_size: int | None = Field(None, ge=1)
    enable_bucket: bool | None = None
    min_bucket_reso: int | None = Field(None, ge=8)
    max_bucket_reso: int | None = Field(None, ge=8)
    bucket_reso_steps: int | None = Field(None, ge=8)
    bucket_no_upscale: bool | None = None

    # Of a subset: which pictures.
    image_dir: str | None = None
    metadata_file: str | None = None
    conditioning_data_dir: str | None = None
    num_repeats: int = Field(1, ge=1)
    is_reg: bool = False
    flip_aug: bool = False
    random_crop: bool = False
    alpha_mask: bool = False

    # Of a subset: their captions.
    class_tokens: str | None = None
    caption_extension: str = ".caption"
    shuffle_caption: bool | None = None
    keep_tokens: int | None = Field(None, ge=0)
    caption_separator: str | None = Field(None, min_length=1)
    caption_dropout_rate: float | None = Field(None, ge=0, le=1)
    caption_tag_dropout_rate: float | None = Field(None, ge=0, le=1)
    caption_prefix: str | None = None
    caption_suffix: str | None = None

    @field_validator("resolution", mode="before")
    @classmethod
    def _size(cls, value: Any) -> Any:
        """A number for both sides, or two."""
        sides = tuple(value) if isinstance(value, list | tuple) else (value, value)
        if len(sides) != 2 or not all(isinstance(side, int) and side >= 8 for side in sides):
            raise ValueError(f"a number or [width, height], of 8 pixels or more, not {value!r}")
        return sides

    @field_validator("caption_extension")
    @classmethod
    def _suffix(cls, value: str) -> str:
        """`txt` besides `.txt`."""
        suffix = value if value.startswith(".") or not value else f".{value}"
        try:
            Path("name").with_suffix(suffix)
        except ValueError:
            raise ValueError(f"the end of a file's name, such as .txt, not {value!r}") from None
        return suffix


def read_options(table: Mapping[str, Any], where: str) -> KohyaOptions:
    """A table's options.

    Args:
        where: the file and the table, for errors.

    Raises:
        DataError: an option is unknown or lacking here, or has a value of the wrong type or out of bounds.
    """
    for name in _LACKING:
        if table.get(name) not in (None, False, 0, "", [], _DEFAULTS.get(name)):
            raise DataError(f"{where}: {name} is not supported here; take it out of the file")
    said = {name: value for name, value in table.items() if name not in (*_LACKING, *_NO_EFFECT)}
    try:
        return KohyaOptions(**said)
    except ValidationError as error:
        raise DataError(option_errors(where, KohyaOptions.model_fields, error)) from None
