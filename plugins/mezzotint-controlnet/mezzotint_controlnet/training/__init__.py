"""ControlNets, trained on the training core of mezzotint.

    settings = ControlNetSettings(preprocess="canny", steps=4000, batch_size=16)
    train_controlnet(mezzotint.load("emoji"), "pictures", "edges", settings)

Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mezzotint.lazy_names import lazy_names

_WHERE = {
    "ControlNetSettings": "settings",
    "ControlNetTrainee": "trainee",
    "attached_controlnet": "trainee",
    "train_controlnet": "trainee",
}

__all__ = [*_WHERE]

if TYPE_CHECKING:
    from .settings import ControlNetSettings as ControlNetSettings
    from .trainee import ControlNetTrainee as ControlNetTrainee
    from .trainee import attached_controlnet as attached_controlnet
    from .trainee import train_controlnet as train_controlnet


__getattr__ = lazy_names(__name__, _WHERE)
