"""What the settings make of clean latents: noisy ones, the target and the weight of each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from .chance import Key, normal, stream
from .errors import TrainingError
from .objective import (
    NoiseSchedule,
    PredictionType,
    min_snr_weight,
    offset_noise,
    squared_errors,
    timesteps_from,
)
from .settings import NOTHING_AT_THE_END, TrainingSettings


@dataclass(frozen=True, eq=False)
class Noised:
    """A batch as the network sees it, and what it should say."""

    noisy: Tensor
    """(n, c, h, w)."""
    timesteps: Tensor
    """(n,)."""
    target: Tensor
    """(n, c, h, w)."""
    weights: Tensor
    """(n,), by timestep."""


class Objective:
    """The settings' loss. All chance is a function of a sample's key, so a key fixes noise and timestep for good."""

    def __init__(
        self, settings: TrainingSettings, schedule: NoiseSchedule, prediction_type: PredictionType
    ) -> None:
        self.settings = settings
        self.schedule = schedule
        self.prediction_type = prediction_type

    @classmethod
    def of(cls, settings: TrainingSettings, scheduler: object, device: torch.device) -> Objective:
        """For a model with this diffusers scheduler.

        Raises:
            TrainingError: the model predicts noise, and with zero terminal SNR that says nothing at the last timestep; or min-SNR gives every timestep of the range the weight 0, as with zero terminal SNR the last.
        """
        kind = settings.prediction_type
        if kind == "auto":
            kind = scheduler.config.get("prediction_type", "epsilon")  # type: ignore[attr-defined]
        if settings.zero_terminal_snr and kind == "epsilon":
            raise TrainingError(NOTHING_AT_THE_END)
        schedule = NoiseSchedule.of(scheduler, zero_terminal_snr=settings.zero_terminal_snr)
        objective = cls(settings, schedule.to(device), cast(PredictionType, kind))
        low, high = timesteps_from(torch.tensor([0.0, 1.0]), len(schedule), *settings.timestep_range)
        if not objective.weights(torch.arange(int(low), int(high) + 1, device=device)).any():
            raise TrainingError(
                "the timesteps of timestep_range show nothing of the picture, so that min_snr_gamma gives them no weight; "
                "begin the range earlier, or leave min_snr_gamma out"
            )
        return objective

    def noised(self, latents: Tensor, keys: Sequence[Key], timesteps: Tensor | None = None) -> Noised:
        """Latents (n, c, h, w) with the noise and at the timesteps of their keys.

        Args:
            timesteps: (n,), instead of those of the keys.
        """
        settings, device = self.settings, latents.device
        if timesteps is None:
            timesteps = self.timesteps(keys).to(device)
        noise = _stacked(latents.shape[1:], "noise", keys).to(device)
        if settings.noise_offset:
            offsets = _stacked((latents.shape[1], 1, 1), "noise offset", keys).to(device)
            noise = offset_noise(noise, offsets, settings.noise_offset)
        target = self.schedule.target(self.prediction_type, latents, noise, timesteps)
        if settings.input_perturbation:
            # Only what the network sees is perturbed (Ning et al. 2023), not what it is asked for.
            extra = _stacked(latents.shape[1:], "input perturbation", keys).to(device)
            noise = noise + settings.input_perturbation * extra
        noisy = self.schedule.add_noise(latents, noise, timesteps)
        return Noised(noisy, timesteps, target, self.weights(timesteps))

    def timesteps(self, keys: Sequence[Key]) -> Tensor:
        """One timestep for each key, (n,)."""
        if self.settings.timestep_sampling == "uniform":
            draws = torch.tensor([stream("timestep", *key).random() for key in keys])
        else:
            # Logit-normal (Esser et al. 2024, eq. 19) prefers the middle of the schedule.
            draws = torch.tensor([stream("timestep", *key).standard_normal() for key in keys]).sigmoid()
        return timesteps_from(draws, len(self.schedule), *self.settings.timestep_range)

    def weights(self, timesteps: Tensor) -> Tensor:
        """How much a sample at each timestep (n,) counts, (n,)."""
        if self.settings.min_snr_gamma is None:
            return torch.ones(len(timesteps), device=timesteps.device)
        return min_snr_weight(self.schedule.snr(timesteps), self.settings.min_snr_gamma, self.prediction_type)

    def losses(self, prediction: Tensor, noised: Noised, mask: Tensor | None = None) -> Tensor:
        """Weighted error of each sample, (n,)."""
        return noised.weights * squared_errors(prediction, noised.target, mask)


def _stacked(shape: Sequence[int], purpose: str, keys: Sequence[Key]) -> Tensor:
    return torch.stack([normal(shape, purpose, *key) for key in keys])
