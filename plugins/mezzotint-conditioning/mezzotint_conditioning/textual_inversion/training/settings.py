"""What the training of a textual inversion can be told, besides what every training can."""

from __future__ import annotations

from mezzotint_training import TrainingSettings
from pydantic import Field, model_validator


class TextualInversionSettings(TrainingSettings):
    """Options of `mezzotint textual-inversion train`."""

    token: str = Field(description="The word to learn, such as <my-cat>; every caption must have it.")
    vectors: int = Field(
        1, ge=1, le=75, description="Vectors it stands for; more hold more, and fill the prompt."
    )
    init: str | None = Field(None, description="Words whose vectors it starts from; default: random ones.")
    weight_decay: float = Field(0.0, ge=0, description="Pull towards 0.")

    @model_validator(mode="after")
    def _supported(self) -> TextualInversionSettings:
        if self.gradient_checkpointing:
            raise ValueError(
                "gradient_checkpointing is not there for textual inversion; use a smaller batch_size"
            )
        return self

    @property
    def rate(self) -> float:
        """The learning rate; vectors take a higher one than weights."""
        return self.learning_rate or (1.0 if self.optimizer == "prodigy" else 5e-3)

    @property
    def default_caption(self) -> str:
        """For pictures without one."""
        return f"a photo of {self.token}"
