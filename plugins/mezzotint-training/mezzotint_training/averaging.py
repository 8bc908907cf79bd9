"""Weights that are averaged over steps, put in place of the trained ones for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn


@contextmanager
def averaged(parameters: Sequence[nn.Parameter], ema: EMAModel | None, optimizer: Any) -> Iterator[None]:
    """Inside, the parameters are those to save and to sample with: EMA's, or schedule-free's average.

    Outside they are the same bits as before; schedule-free's own way back would round.
    """
    trained: list[Tensor] = [parameter.detach().clone() for parameter in parameters]
    is_schedule_free = any("train_mode" in group for group in optimizer.param_groups)
    try:
        if is_schedule_free:
            optimizer.eval()
        if ema is not None:
            ema.copy_to(parameters)
        yield
    finally:
        if is_schedule_free:
            optimizer.train()
        with torch.no_grad():
            for parameter, kept in zip(parameters, trained, strict=True):
                parameter.copy_(kept)
