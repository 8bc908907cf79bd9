"""Self-attention guidance: away from what the model predicts where its attention looks at a blurred picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from mezzotint import Block, Extension, Field, Pass, Run, hookimpl

from ..attention_grid import attention_grid
from ..steps import End, Start, within

if TYPE_CHECKING:
    from torch import Tensor

LAYER = "mid.attentions.0.transformer_blocks.0.attn1"
BLUR_SIGMA = 1.0
BLUR_SIZE = 9


class SAG(Extension, name="sag"):
    """Self-attention guidance: blur what the middle block attends to, evaluate again, move away (Hong et al. 2023).

    As `StableDiffusionSAGPipeline` of diffusers: the attention and prediction of the negative pass are used where
    there is one, else those of the positive pass. Every step costs a second call of the U-Net with one pass.
    """

    scale: float = Field(0.75, ge=0, description="strength; 0 is off and costs nothing")
    start: Start = 0.0
    end: End = 1.0

    @hookimpl(at=LAYER)
    def attention_probe(self, layer: Block, probabilities: Tensor, run: Run) -> None:
        """Keep where more attention falls than on average."""
        reference = _reference(pass_.name for pass_ in run.passes)
        # Also before `start`: a cache may leave the layer out at the first step that needs the mask.
        if reference is not None and self.scale > 0:
            run.state(self, dict)["mask"] = probabilities[run.rows(reference)].mean(1).sum(1) > 1.0

    @hookimpl(after="pag")
    def prediction(
        self, prediction: Tensor, predictions: Mapping[str, Tensor], latents: Tensor, run: Run
    ) -> Tensor | None:
        """On top of guidance."""
        reference = _reference(predictions)
        if reference is None or not self._now(run):
            return None
        frame, predicted = run.frame(), predictions[reference]
        degraded = blur_where(run.state(self, dict)["mask"], frame.denoised(predicted))
        evaluated = run.evaluate(
            frame.latents(degraded, frame.noise(predicted)), (Pass("degraded", conditioning=reference),)
        )
        return prediction + self.scale * (predicted - evaluated["degraded"])

    def _now(self, run: Run) -> bool:
        return self.scale > 0 and within(run, self.start, self.end)


def _reference(names: Iterable[str]) -> str | None:
    here = set(names)
    return next((name for name in ("negative", "positive") if name in here), None)


def blur_where(attended: Tensor, denoised: Tensor) -> Tensor:
    """Clean latents (n, c, h, w), blurred where attention falls.

    Args:
        attended: of each token of the layer, (n, tokens), boolean.
    """
    from torch.nn.functional import interpolate

    height, width = denoised.shape[-2:]
    h, w = attention_grid(attended.shape[1], height, width)
    mask = interpolate(attended.reshape(-1, 1, h, w).to(denoised.dtype), (height, width))
    return gaussian_blur(denoised) * mask + denoised * (1 - mask)


def gaussian_blur(picture: Tensor) -> Tensor:
    """(n, c, h, w), with a Gaussian of σ = 1 in a window of 9; borders are reflected."""
    import torch
    from torch.nn.functional import conv2d, pad

    half, channels = BLUR_SIZE // 2, picture.shape[1]
    offsets = torch.arange(-half, half + 1, dtype=picture.dtype, device=picture.device)
    kernel = torch.exp(-0.5 * (offsets / BLUR_SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    square = (kernel[:, None] * kernel[None, :]).expand(channels, 1, BLUR_SIZE, BLUR_SIZE)
    # Reflection cannot reach further than the picture does.
    mode = "reflect" if min(picture.shape[-2:]) > half else "replicate"
    return conv2d(pad(picture, [half] * 4, mode=mode), square, groups=channels)
