"""What the network is asked to predict and how its error is weighed: pure functions of tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

PredictionType = Literal["epsilon", "v_prediction", "sample"]


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """How much of the picture is left at each timestep: x_t = sqrt(ᾱ_t) x + sqrt(1 − ᾱ_t) ε (Ho et al. 2020, eq. 4)."""

    alphas_cumprod: Tensor
    """(T,), float32."""

    @classmethod
    def of(cls, scheduler: object, *, zero_terminal_snr: bool = False) -> NoiseSchedule:
        """Of a diffusers scheduler that has one.

        Args:
            zero_terminal_snr: rescaled so that nothing of the picture is left at the last timestep (Lin et al. 2023,
                algorithm 1).
        """
        betas: Tensor = scheduler.betas  # type: ignore[attr-defined]
        if zero_terminal_snr:
            from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

            betas = rescale_zero_terminal_snr(betas)
        return cls(torch.cumprod(1 - betas.float(), 0))

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def to(self, device: torch.device) -> NoiseSchedule:
        """The same on a device."""
        return NoiseSchedule(self.alphas_cumprod.to(device))

    def signal(self, timesteps: Tensor) -> Tensor:
        """sqrt(ᾱ_t), (n, 1, 1, 1)."""
        return self.alphas_cumprod[timesteps].sqrt().view(-1, 1, 1, 1)

    def noise(self, timesteps: Tensor) -> Tensor:
        """sqrt(1 − ᾱ_t), (n, 1, 1, 1)."""
        return (1 - self.alphas_cumprod[timesteps]).sqrt().view(-1, 1, 1, 1)

    def snr(self, timesteps: Tensor) -> Tensor:
        """ᾱ_t / (1 − ᾱ_t), (n,)."""
        alphas = self.alphas_cumprod[timesteps]
        return alphas / (1 - alphas)

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """x_t for latents and noise (n, c, h, w) at timesteps (n,)."""
        return self.signal(timesteps) * latents + self.noise(timesteps) * noise

    def target(self, kind: PredictionType, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the network should say: the noise, v = sqrt(ᾱ) ε − sqrt(1 − ᾱ) x (Salimans & Ho 2022), or the latents."""
        if kind == "epsilon":
            return noise
        if kind == "v_prediction":
            return self.signal(timesteps) * noise - self.noise(timesteps) * latents
        return latents


def offset_noise(noise: Tensor, offsets: Tensor, amount: float) -> Tensor:
    """Noise with a constant of its own added to each channel (Guttenberg 2023), which lets brightness be learned.

    Args:
        noise: (n, c, h, w).
        offsets: unit Gaussian (n, c, 1, 1).
    """
    return noise + amount * offsets if amount else noise


def min_snr_weight(snr: Tensor, gamma: float, kind: PredictionType) -> Tensor:
    """Weight of each sample, so that no timestep counts more than `gamma` times its share (Hang et al. 2023, section 3.4).

    min(SNR, γ) is the weight of a prediction of x; divided by SNR it is that for the noise, by SNR + 1 that for v.
    """
    capped = snr.clamp(max=gamma)
    if kind == "epsilon":
        # The limit for SNR → 0, where both vanish, is 1.
        return torch.where(snr > 0, capped / snr.clamp(min=torch.finfo(snr.dtype).tiny), torch.ones_like(snr))
    return capped / (snr + 1) if kind == "v_prediction" else capped


def squared_errors(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared error of each sample, (n,); with a mask (n, 1, h, w), the mean over what it covers.

    A sample whose mask is empty everywhere has error 0.
    """
    errors = (prediction.float() - target.float()).square()
    if mask is None:
        return errors.mean(dim=(1, 2, 3))
    covered = mask.expand_as(errors)
    return (errors * covered).sum(dim=(1, 2, 3)) / covered.sum(dim=(1, 2, 3)).clamp(
        min=torch.finfo(errors.dtype).tiny
    )


def timesteps_from(uniform: Tensor, count: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Timesteps (n,) from numbers in [0, 1), within that part of the schedule."""
    return ((low + (high - low) * uniform) * count).long().clamp(max=count - 1)
