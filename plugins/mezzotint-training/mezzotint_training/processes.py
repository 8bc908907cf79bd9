"""This process and the others of a training."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import TorchDynamoPlugin
from mezzotint.models.compiler import MISSING, has_compiler

from .errors import TrainingError

MANY = 2**16


def make_accelerator(device: torch.device, mixed_precision: str, *, compiles: bool = False) -> Accelerator:
    """accelerate's view of this process: alone, or one of those that `accelerate launch` started.

    Raises:
        TrainingError: networks are to be compiled, and there is no compiler; or fp16 is asked for on a CPU.
    """
    if mixed_precision == "fp16" and device.type == "cpu":
        raise TrainingError("mixed_precision=fp16 needs a GPU; on a CPU choose bf16 or no")
    if compiles and not has_compiler(device):
        raise TrainingError(MISSING)
    # A second training in one process may have another precision, which accelerate keeps in a shared state.
    AcceleratorState._reset_state()
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision=mixed_precision,
        # None leaves it to accelerate launch. Each shape is compiled by itself, whichever came before it: what a
        # training computes must not depend on where it was resumed.
        dynamo_plugin=TorchDynamoPlugin(backend="inductor", dynamic=False) if compiles else None,
    )


@contextmanager
def compiling_every_shape() -> Iterator[None]:
    """Beyond its limits torch goes on uncompiled, with other bits, and which shapes that meets depends on their order."""
    with (
        torch._dynamo.config.patch(recompile_limit=MANY, accumulated_recompile_limit=MANY),
        warnings.catch_warnings(),
    ):
        # diffusers looks up torch's version in its forward.
        warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`", UserWarning)
        yield
