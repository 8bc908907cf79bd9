"""What a ControlNet training can be told, besides what every training can."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from mezzotint_training import TrainingSettings
from pydantic import Field


class ControlNetSettings(TrainingSettings):
    """Options of `mezzotint controlnet train`."""

    alternatives: ClassVar[tuple[tuple[str, str, str], ...]] = (
        *TrainingSettings.alternatives,
        ("preprocess", "maps", "preprocess makes the maps and maps has them"),
        ("start", "hint_channels", "start has its own hint_channels"),
    )

    preprocess: str | None = Field(
        None, description="Make each picture's control map: canny, or canny(low=50,high=120)."
    )
    maps: Path | None = Field(None, description="Folder of control maps, with the names of their pictures.")
    start: Path | None = Field(
        None, description="ControlNet folder to train further; default: a copy of the U-Net's encoder."
    )
    hint_channels: tuple[int, ...] | None = Field(
        None, description="Channels of the layers that shrink the map; default: 16,32,96,256."
    )
    save_dtype: Literal["float32", "float16"] = Field("float32", description="Of the saved weights.")
