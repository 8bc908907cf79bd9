"""U-Nets that predict a variance beside the noise (Nichol & Dhariwal 2021, section 3.1), such as DeepFloyd IF's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

LEARNED = ("learned", "learned_range")


def split_variance(
    predictions: Mapping[str, Tensor], channels: int
) -> tuple[dict[str, Tensor], Tensor | None]:
    """The predictions (n, c, h, w) by pass, and the variance (n, c, h, w) that the positive pass predicts.

    `None` where the U-Net predicts no more than `channels`. Guidance is for the prediction alone, and the variance
    is that of the pass with the prompt, as `IFPipeline` of diffusers does.
    """
    rows = next(iter(predictions.values()))
    if rows.shape[1] == channels:
        return dict(predictions), None
    chosen = predictions["positive"] if "positive" in predictions else list(predictions.values())[-1]
    return {name: rows[:, :channels] for name, rows in predictions.items()}, chosen[:, channels:]


def join_variance(prediction: Tensor, variance: Tensor | None, scheduler: Any) -> Tensor:
    """What the scheduler takes: the prediction, and the variance if it was made for a learned one."""
    if variance is None or scheduler.config.get("variance_type") not in LEARNED:
        return prediction
    return torch.cat([prediction, variance], dim=1)
