"""A model's noise levels: from training timestep to σ and back, and the frame the model works in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"

_LEAST_ALPHA_FLOW = 1e-6
"""At t = 1 a flow model sees noise only and σ/α is infinite; this stands for it (the error is of this size)."""
_LEAST_ALPHAS_CUMPROD = 2.0**-24
"""The same for zero terminal SNR, with the value that diffusers uses."""


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The noise levels a model was trained on, in the variance-exploding frame (σ = σ_model/α)."""

    kind: Literal["vp", "flow"]
    """`vp`: α² + σ_model² = 1 (DDPM, Stable Diffusion); `flow`: α + σ_model = 1 (rectified flow)."""
    sigmas: Floats
    """σ of each training timestep, rising, (num_train_timesteps,), float64."""
    sigma_min: float
    """Lowest σ of spacings over a range; the σ of timestep 0 unless the config says otherwise."""
    sigma_max: float
    """Highest σ of spacings over a range; the σ of the last timestep unless the config says otherwise."""
    final: float
    """Where an interval ends: 0, or `sigmas[0]`."""
    steps_offset: int
    """Added to the timesteps of `leading` spacings."""

    @property
    def num_train_timesteps(self) -> int:
        """How many discrete timesteps there are."""
        return len(self.sigmas)

    def alpha(self, sigma: float) -> float:
        """Signal's factor α of the model's frame, where x_model = α x."""
        return 1 / math.sqrt(1 + sigma * sigma) if self.kind == "vp" else 1 / (1 + sigma)

    def sigma_at(self, timestep: float) -> float:
        """σ of a training timestep; between two, log σ is interpolated (for flow models σ_model)."""
        if float(timestep).is_integer():
            return float(self.sigmas[int(timestep)])
        import numpy as np

        levels = np.log(self.sigmas) if self.kind == "vp" else self.sigmas / (1 + self.sigmas)
        level = float(np.interp(timestep, np.arange(len(levels)), levels))
        return math.exp(level) if self.kind == "vp" else level / (1 - level)

    def sigma_of_timestep(self, timestep: float) -> float:
        """σ of what a model is told: `sigma_at` for variance-preserving models, the inverse of 1000 σ_model for flow."""
        if self.kind == "vp":
            return self.sigma_at(timestep)
        level = timestep / self.num_train_timesteps
        return level / max(1 - level, _LEAST_ALPHA_FLOW)

    def timestep_at(self, sigma: float) -> float:
        """What the model is told for σ: the inverse of `sigma_at`, or 1000 σ_model for a flow model.

        Whole where it is whole up to rounding; held at the first and last timestep outside the trained range.
        """
        import numpy as np

        if self.kind == "flow":
            timestep = self.num_train_timesteps * (1 - self.alpha(sigma))
        else:
            timestep = float(
                np.interp(math.log(sigma), np.log(self.sigmas), np.arange(self.num_train_timesteps))
            )
        # Log and its inverse leave whole timesteps off by 1e-12; 1e-5 also covers the flow clamp at t = 1.
        tolerance = 1e-8 if self.kind == "vp" else _LEAST_ALPHA_FLOW * self.num_train_timesteps * 1.01
        return float(round(timestep)) if abs(timestep - round(timestep)) < tolerance else timestep

    def finish(self, sigmas: Iterable[float]) -> list[float]:
        """Append the last noise level: `final`, or 0 where the interval has already come down to `final`."""
        levels = [float(sigma) for sigma in sigmas]
        return [*levels, self.final if levels[-1] > self.final else 0.0]


def noise_schedule(config: Mapping[str, Any], *, ends_at_first_timestep: bool = False) -> NoiseSchedule:
    """The schedule of a normalised model config (see `model_config`).

    Args:
        ends_at_first_timestep: whether intervals end at the σ of timestep 0 rather than at 0.

    Raises:
        RequestError: an unknown `beta_schedule`, or betas that are no probabilities.
    """
    import numpy as np

    if config["use_flow_sigmas"]:
        steps = np.arange(1, config["num_train_timesteps"] + 1) / config["num_train_timesteps"]
        shifted = config["flow_shift"] * steps / (1 + (config["flow_shift"] - 1) * steps)
        sigmas = shifted / np.maximum(1 - shifted, _LEAST_ALPHA_FLOW)
    else:
        cumulative = alphas_cumprod(config)
        sigmas = np.sqrt(1 / cumulative - 1)
    return NoiseSchedule(
        kind="flow" if config["use_flow_sigmas"] else "vp",
        sigmas=sigmas,
        sigma_min=float(sigmas[0]) if config["sigma_min"] is None else float(config["sigma_min"]),
        sigma_max=float(sigmas[-1]) if config["sigma_max"] is None else float(config["sigma_max"]),
        final=float(sigmas[0]) if ends_at_first_timestep else 0.0,
        steps_offset=config["steps_offset"],
    )


def alphas_cumprod(config: Mapping[str, Any]) -> Floats:
    """ᾱ of each training timestep, (num_train_timesteps,), in float64 where diffusers has float32."""
    import numpy as np

    betas = _betas(config)
    if np.any(betas <= 0) or np.any(betas > 1):
        raise RequestError(f"the model's betas must lie in (0, 1], not in {betas.min():g} … {betas.max():g}")
    cumulative: Floats = np.cumprod(1 - betas, dtype=np.float64)
    if config["rescale_betas_zero_snr"]:
        cumulative = zero_terminal_snr(cumulative)
    return cumulative


def zero_terminal_snr(cumulative: Floats) -> Floats:
    """ᾱ shifted and scaled so that the last timestep is pure noise (Lin et al. 2023, algorithm 1).

    The last value is 2^-24 instead of 0, so that σ = 4096 stays finite.
    """
    import numpy as np

    roots = np.sqrt(cumulative)
    rescaled: Floats = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
    rescaled[-1] = _LEAST_ALPHAS_CUMPROD
    return rescaled


def _betas(config: Mapping[str, Any]) -> Floats:
    import numpy as np

    n, start, end = config["num_train_timesteps"], config["beta_start"], config["beta_end"]
    schedule = config["beta_schedule"]
    if config["trained_betas"] is not None:
        betas = np.asarray(config["trained_betas"])
    elif schedule == "linear":
        betas = np.linspace(start, end, n)
    elif schedule == "scaled_linear":
        betas = np.linspace(math.sqrt(start), math.sqrt(end), n) ** 2
    elif schedule == "squaredcos_cap_v2":
        # Nichol & Dhariwal 2021, eq. 17.
        cosine = np.cos((np.arange(n + 1) / n + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = np.minimum(1 - cosine[1:] / cosine[:-1], 0.999)
    elif schedule == "sigmoid":
        betas = start + (end - start) / (1 + np.exp(-np.linspace(-6, 6, n)))
    else:
        known = "linear, scaled_linear, squaredcos_cap_v2, sigmoid"
        raise RequestError(f"beta_schedule {schedule!r} is not known; there are {known}")
    return betas.astype(np.float64)
