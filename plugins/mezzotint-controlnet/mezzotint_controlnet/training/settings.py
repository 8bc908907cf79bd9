"""What a ControlNet training can be told, besides what every training can."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from mezzotint_training import TrainingSettings
from pydantic import Field, model_validator


class ControlNetSettings(TrainingSettings):
    """Options of `mezzotint controlnet train`."""

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

    @model_validator(mode="after")
    def _one_source_each(self) -> ControlNetSettings:
        if self.preprocess is not None and self.maps is not None:
            raise ValueError("preprocess makes the maps and maps has them; give one of them")
        if self.start is not None and self.hint_channels is not None:
            raise ValueError("start has its own hint_channels; leave one of them out")
        return self
