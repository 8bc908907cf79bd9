"""The guidance scale as an embedding, for models that were distilled with it (LCM)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ..pipeline.run import Run


def guidance_embedding(run: Run, dtype: torch.dtype) -> Tensor | None:
    """Sinusoidal embedding (n, time_cond_proj_dim) of `guidance - 1`, or `None` for other models.

    As `StableDiffusionPipeline.get_guidance_scale_embedding` of diffusers (Luo et al. 2023, section 4.2).
    """
    dim = run.pipe.unet.config.time_cond_proj_dim
    if dim is None:
        return None
    scale = torch.tensor(run.request.guidance - 1).repeat(run.n) * 1000.0
    half = dim // 2
    frequencies = torch.exp(
        torch.arange(half, dtype=torch.float32) * -(torch.log(torch.tensor(10000.0)) / (half - 1))
    )
    angles = scale.to(torch.float32)[:, None] * frequencies[None, :]
    embedding = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    if dim % 2:
        embedding = torch.nn.functional.pad(embedding, (0, 1))
    return embedding.to(run.pipe.device, dtype)
