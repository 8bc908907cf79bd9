"""Dynamic thresholding: guided latents kept in a range, by a percentile of each sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mezzotint import Extension, Field, Run, hookimpl

from ..steps import End, Start, within

if TYPE_CHECKING:
    from torch import Tensor


class DynamicThresholding(Extension, name="dynamic-thresholding"):
    """Keep the denoised latents of a high guidance scale in the range of a lower one, or of pixels.

    With `mimic`, each channel gets the range that it would have at that scale ("CFG scale fix", for latent
    models); with `limit`, a percentile of each sample is clipped to it, as Imagen does with 1 for pixels
    (Saharia et al. 2022, section 2.3).
    """

    percentile: float = Field(0.995, gt=0, le=1, description="share of the values that is not clipped")
    mimic: float = Field(
        3.0, ge=1, description="guidance scale whose range is kept; does nothing at or above the call's"
    )
    limit: float | None = Field(None, gt=0, description="range ±limit instead of that of mimic; 1 for pixels")
    start: Start = 0.0
    end: End = 1.0

    @hookimpl(after=("pag", "sag", "cfg-rescale"))
    def prediction(self, prediction: Tensor, predictions: Mapping[str, Tensor], run: Run) -> Tensor | None:
        """Last, on the clean latents that the prediction means."""
        if not within(run, self.start, self.end):
            return None
        frame = run.frame()
        denoised = frame.denoised(prediction)
        if self.limit is not None:
            return frame.prediction(clip(denoised, self.percentile, self.limit)).to(prediction.dtype)
        if "negative" not in predictions:
            return None
        negative, positive = (frame.denoised(predictions[name]) for name in ("negative", "positive"))
        mimicked = negative + self.mimic * (positive - negative)
        return frame.prediction(keep_range(denoised, mimicked, self.percentile)).to(prediction.dtype)


def clip(denoised: Tensor, percentile: float, limit: float) -> Tensor:
    """Samples (n, c, h, w) clipped at a percentile s ≥ limit of their absolute values, and scaled to ±limit.

    Samples that are within the limit stay as they are.
    """
    import torch

    flat = denoised.flatten(1).float()
    s = torch.quantile(flat.abs(), percentile, dim=1, keepdim=True).clamp_min(limit)
    return (flat.clamp(-s, s) * (limit / s)).view_as(denoised).to(denoised.dtype)


def keep_range(denoised: Tensor, like: Tensor, percentile: float) -> Tensor:
    """Each channel of (n, c, h, w) clipped at a percentile around its mean, and scaled to the range of `like`.

    A channel whose range is no larger than that of `like` stays as it is.
    """
    import torch

    values, target = denoised.flatten(2).float(), like.flatten(2).float()
    mean = values.mean(2, keepdim=True)
    centred = values - mean
    wanted = (target - target.mean(2, keepdim=True)).abs().amax(2, keepdim=True)
    reached = torch.quantile(centred.abs(), percentile, dim=2, keepdim=True).maximum(wanted)
    kept = centred.clamp(-reached, reached) * (wanted / reached.clamp_min(1e-12))
    return (kept + mean).view_as(denoised).to(denoised.dtype)
