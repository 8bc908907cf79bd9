"""Optimizers and learning-rate schedules by name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from .errors import TrainingError
from .settings import TrainingSettings


@dataclass(frozen=True, eq=False)
class ParameterGroup:
    """Parameters that learn at one rate."""

    name: str
    parameters: tuple[nn.Parameter, ...]
    learning_rate: float


def make_optimizer(settings: TrainingSettings, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
    """The optimizer that the settings name.

    Raises:
        TrainingError: its library is missing, or it cannot do what is asked.
    """
    groups = [group for group in groups if group.parameters]
    arguments: list[dict[str, Any]] = [
        {"params": list(group.parameters), "lr": group.learning_rate, "name": group.name} for group in groups
    ]
    common: dict[str, Any] = {"betas": settings.betas, "weight_decay": settings.weight_decay}
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(arguments, fused=True, **common)
    if settings.optimizer == "adamw-8bit":
        return _adamw_8bit(arguments, common)
    if settings.optimizer == "prodigy":
        from prodigyopt import Prodigy

        if len({group.learning_rate for group in groups}) > 1:
            raise TrainingError(
                "prodigy finds one learning rate for all; leave out the other rates and LoRA+, or use adamw"
            )
        with redirect_stdout(StringIO()):  # It prints which decay it uses.
            return Prodigy(
                arguments, decouple=True, use_bias_correction=True, safeguard_warmup=True, **common
            )
    from schedulefree import AdamWScheduleFree

    # Its warm-up is part of its averaging.
    return AdamWScheduleFree(arguments, warmup_steps=settings.warmup_steps, **common)


def make_schedule(settings: TrainingSettings, optimizer: torch.optim.Optimizer, steps: int) -> LambdaLR:
    """The learning-rate schedule that the settings name, stepped once after each step of the optimizer."""
    from diffusers.optimization import get_scheduler

    if settings.optimizer == "schedule-free":
        return get_scheduler("constant", optimizer)
    name = "constant_with_warmup" if settings.schedule == "constant" else settings.schedule
    return get_scheduler(name, optimizer, num_warmup_steps=settings.warmup_steps, num_training_steps=steps)


def set_rates(schedule: LambdaLR) -> None:
    """Give the optimizer the rates of the step that the schedule is at, where they were stored for another number of steps."""
    groups = schedule.optimizer.param_groups
    for group, base, factor in zip(groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
        group["lr"] = base * factor(schedule.last_epoch)


def never_arrives(settings: TrainingSettings, steps: int) -> bool:
    """Whether the learning rate still rises at the last step; schedule-free's counts from 1, the others from 0."""
    counted = steps if settings.optimizer == "schedule-free" else steps - 1
    return settings.warmup_steps > counted


def _adamw_8bit(arguments: list[dict[str, Any]], common: dict[str, Any]) -> torch.optim.Optimizer:
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError:
        raise TrainingError(
            "adamw-8bit needs bitsandbytes: pip install 'mezzotint-training[8bit]', or use adamw"
        ) from None
    optimizer: torch.optim.Optimizer = AdamW8bit(arguments, **common)
    return optimizer
