"""What a LoRA training can be told, besides what every training can."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from mezzotint_training import Needs, TrainingSettings
from pydantic import Field, field_validator, model_validator

Kind = Literal["lora", "loha", "lokr"]
Init = Literal["default", "gaussian", "pissa", "olora"]
Pattern = Annotated[str, Field(min_length=1)]
"""An empty one would be found in every name."""


class LoRASettings(TrainingSettings):
    """Options of `mezzotint lora train`."""

    needs: ClassVar[tuple[Needs, ...]] = (
        *TrainingSettings.needs,
        Needs(("factor",), ("kind",), ("lokr",)),
        Needs(("conv_rank", "conv_alpha"), ("targets",), ("all",)),
        # The others decompose matrices and leave convolutions out.
        Needs(("conv_rank", "conv_alpha"), ("init",), ("default", "gaussian")),
        Needs(("text_encoder_learning_rate",), ("train_text_encoder",)),
    )

    kind: Kind = Field("lora", description="Form of the change of a weight.")
    rank: int = Field(8, ge=1, description="Rank of the change; larger holds more.")
    alpha: float | None = Field(
        None, gt=0, description="The change is scaled by alpha / rank; default: the rank."
    )
    rslora: bool = Field(False, description="Scale by alpha / sqrt(rank), which high ranks need.")
    dora: bool = Field(
        False, description="Learn the length of each row of a weight apart from its direction."
    )
    init: Init = Field(
        "default", description="Start of a LoRA; pissa and olora start from the weight itself."
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Dropout before the change (lora), of rows of it (others)."
    )
    targets: Literal["attention", "transformer", "all"] = Field(
        "transformer",
        description="Layers: of attention; kohya's, all linear ones of transformer blocks; also convolutions.",
    )
    only: tuple[Pattern, ...] = Field(
        (), description="Patterns (regular expressions) that a layer's name must match."
    )
    skip: tuple[Pattern, ...] = Field((), description="Patterns of layers that are left as they are.")
    conv_rank: int | None = Field(None, ge=1, description="Rank for 3x3 convolutions; default: the rank.")
    conv_alpha: float | None = Field(
        None, gt=0, description="Alpha for 3x3 convolutions; default: their rank."
    )
    factor: int = Field(-1, ge=-1, description="Of lokr: size of the small factor; -1: about equal factors.")
    train_text_encoder: bool = Field(False, description="Train the text encoder as well.")
    text_encoder_learning_rate: float | None = Field(
        None, gt=0, description="Default: as the U-Net's; usual: half of it."
    )
    lora_plus: float | None = Field(
        None, ge=1, description="LoRA+: the up factor learns so many times as fast; usual: 16."
    )
    format: Literal["kohya", "diffusers"] = Field("kohya", description="Layout of the file.")
    save_dtype: Literal["float32", "float16", "bfloat16"] = Field(
        "float32", description="Of the saved weights."
    )
    trigger: str | None = Field(
        None, description="Words that ask for it, for the metadata; default: the caption."
    )
    title: str | None = Field(None, description="In the file's metadata; default: its name.")
    author: str | None = Field(None, description="In the file's metadata.")
    license: str | None = Field(None, description="In the file's metadata, such as CC-BY-4.0.")
    comment: str | None = Field(None, description="In the file's metadata.")

    @field_validator("only", "skip", mode="before")
    @classmethod
    def _patterns(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(f"a list of patterns, such as ['attn2', 'proj_in'], not {value!r}")
        return value

    @model_validator(mode="after")
    def _kinds_fit(self) -> LoRASettings:
        if self.kind != "lora":
            for name in ("dora", "rslora"):
                if getattr(self, name):
                    raise ValueError(f"{name} goes with kind=lora, not {self.kind}")
            if self.init != "default":
                raise ValueError(f"init={self.init} goes with kind=lora, not {self.kind}")
            if self.lora_plus is not None:
                raise ValueError(f"lora_plus goes with kind=lora, not {self.kind}")
            if self.format == "diffusers":
                raise ValueError(f"diffusers' layout has no {self.kind}; use format=kohya")
        if self.dora and self.init in ("pissa", "olora"):
            raise ValueError(
                f"dora needs the whole weight, from which init={self.init} takes a part; choose one of them"
            )
        return self

    @property
    def text_encoder_rate(self) -> float:
        """The text encoder's learning rate, with its default."""
        return self.text_encoder_learning_rate or self.rate

    def alpha_of(self, rank: int, *, conv: bool) -> float:
        """alpha of layers of this rank, by which peft scales as alpha / rank or alpha / sqrt(rank)."""
        alpha = self.conv_alpha if conv else self.alpha
        return float(rank if alpha is None else alpha)
