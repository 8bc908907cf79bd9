"""This process and the others of a training."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState


def make_accelerator(device: torch.device, mixed_precision: str) -> Accelerator:
    """accelerate's view of this process: alone, or one of those that `accelerate launch` started."""
    # A second training in one process may have another precision, which accelerate keeps in a shared state.
    AcceleratorState._reset_state()
    return Accelerator(cpu=device.type == "cpu", mixed_precision=mixed_precision)
