"""This process and the others of a training."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import TorchDynamoPlugin

from .errors import TrainingError

MANY = 2**16


def make_accelerator(device: torch.device, mixed_precision: str, *, compiles: bool = False) -> Accelerator:
    """accelerate's view of this process: alone, or one of those that `accelerate launch` started.

    Raises:
        TrainingError: networks are to be compiled, and there is no compiler.
    """
    if compiles:
        _require_compiler(device)
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


def _require_compiler(device: torch.device) -> None:
    """Inductor writes C++ for a CPU; without a compiler it would say so only after everything is encoded."""
    if device.type != "cpu":
        return
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        raise TrainingError(
            "compile needs a C++ compiler, and none is installed here; install one, set CXX, or leave compile out"
        ) from None
