"""The training core of mezzotint: what LoRA and ControlNet training share.

    data = prepare("pictures", settings, pipe)
    with attached_lora(pipe, settings) as lora:      # from mezzotint_lora.training
        train(lora, data, "style.safetensors")

Names are imported when they are first used, so that the package takes no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mezzotint.lazy_names import lazy_names

__version__ = "0.1.0"

_WHERE = {
    "Batch": "batches",
    "Batches": "batches",
    "Buckets": "data.buckets",
    "Captioning": "data.item",
    "CheckpointError": "errors",
    "Checkpoints": "checkpoints",
    "DataError": "errors",
    "Dataset": "data.dataset",
    "Denoiser": "trainee",
    "Facts": "trainee",
    "Item": "data.item",
    "LatentEncoder": "encoding.latents",
    "Needs": "dependent_options",
    "NoiseSchedule": "objective",
    "Objective": "noising",
    "ParameterGroup": "optimizers",
    "TensorStore": "encoding.store",
    "TextEncoder": "encoding.text",
    "Trained": "training",
    "Trainee": "trainee",
    "TrainingData": "preparing",
    "TrainingError": "errors",
    "TrainingSettings": "settings",
    "View": "data.images",
    "check_output": "outputs",
    "frozen": "freezing",
    "make_encoders": "encoding.caches",
    "make_optimizer": "optimizers",
    "make_schedule": "optimizers",
    "narrowed": "narrowing",
    "prepare": "preparing",
    "read_folder": "data.folder",
    "recomputed": "attention",
    "train": "training",
}

__all__ = ["__version__", *sorted(_WHERE)]

if TYPE_CHECKING:
    from .attention import recomputed as recomputed
    from .batches import Batch as Batch
    from .batches import Batches as Batches
    from .checkpoints import Checkpoints as Checkpoints
    from .data.buckets import Buckets as Buckets
    from .data.dataset import Dataset as Dataset
    from .data.folder import read_folder as read_folder
    from .data.images import View as View
    from .data.item import Captioning as Captioning
    from .data.item import Item as Item
    from .dependent_options import Needs as Needs
    from .encoding.caches import make_encoders as make_encoders
    from .encoding.latents import LatentEncoder as LatentEncoder
    from .encoding.store import TensorStore as TensorStore
    from .encoding.text import TextEncoder as TextEncoder
    from .errors import CheckpointError as CheckpointError
    from .errors import DataError as DataError
    from .errors import TrainingError as TrainingError
    from .freezing import frozen as frozen
    from .narrowing import narrowed as narrowed
    from .noising import Objective as Objective
    from .objective import NoiseSchedule as NoiseSchedule
    from .optimizers import ParameterGroup as ParameterGroup
    from .optimizers import make_optimizer as make_optimizer
    from .optimizers import make_schedule as make_schedule
    from .outputs import check_output as check_output
    from .preparing import TrainingData as TrainingData
    from .preparing import prepare as prepare
    from .settings import TrainingSettings as TrainingSettings
    from .trainee import Denoiser as Denoiser
    from .trainee import Facts as Facts
    from .trainee import Trainee as Trainee
    from .training import Trained as Trained
    from .training import train as train


__getattr__ = lazy_names(__name__, _WHERE)


def __dir__() -> list[str]:
    return __all__
