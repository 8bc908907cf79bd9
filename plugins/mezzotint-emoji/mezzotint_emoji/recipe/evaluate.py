"""Measure the last checkpoint on trained and on held-out pictures.

There is no pretrained image-text model here, so nothing below is a CLIP score or an FID.
"""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from .captions import full_caption
from .data import Data, load
from .render import on_background
from .sheet import load_pipeline, sample
from .train_unet import Denoiser, VelocityLoss
from .train_vae import encode, measure, to_tensor

COARSE = 16  # pictures are compared at 16 x 16 pixels: layout and colours, not single pixels


def evaluate(work: Path, prompts_per_split: int = 96) -> dict[str, float]:
    """Metrics by name; also written to `evaluation.json` in the working folder.

    * `psnr_held_out`: the VAE alone, in dB.
    * `v_loss_*`: squared error of v, with the same noise and timesteps each time.
    * `retrieval_*`: in what share of prompts the real picture that is nearest to the sample, of about 1,000
      of the same style, is the one that the prompt names.
    """
    data = load(work)
    pipe = load_pipeline(work)
    parts = {name: data.split(name) for name in ("train", "pair", "concept")}
    report = {"psnr_held_out": measure(pipe.vae, data.split("pair", "concept"))}
    for name, part in parts.items():
        report[f"v_loss_{name}"] = v_loss(pipe, _spread(part, 4 * prompts_per_split))
    for name in ("train", "pair", "concept"):
        top1, top5 = retrieval(pipe, _spread(parts[name], prompts_per_split), data)
        report |= {f"retrieval_top1_{name}": top1, f"retrieval_top5_{name}": top5}
    (work / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


@torch.no_grad()
def v_loss(pipe: StableDiffusionPipeline, data: Data) -> float:
    """Mean squared error of v over `data` with full captions, noise of seed 0."""
    loss, denoiser = VelocityLoss(), Denoiser(pipe.unet, pipe.text_encoder)
    latents = encode(pipe.vae, data) * pipe.vae.config.scaling_factor
    noisy, timesteps, target = loss.draw(latents, torch.Generator().manual_seed(0))
    captions = [full_caption(picture) for picture in data.pictures]
    ids = pipe.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    batches = zip(*(tensor.split(64) for tensor in (noisy, timesteps, ids, target)), strict=True)
    return sum(loss(denoiser, *batch)["loss"].item() * len(batch[0]) for batch in batches) / len(captions)


def retrieval(pipe: StableDiffusionPipeline, asked: Data, candidates: Data) -> tuple[float, float]:
    """Share of samples whose named picture is the nearest, and among the five nearest, of its style."""
    images = sample(pipe, [full_caption(picture) for picture in asked.pictures])
    drawn = _coarse(np.stack([np.asarray(image) for image in images]))
    real = _coarse(on_background(candidates.pixels))
    styles = np.array([picture.style for picture in candidates.pictures])
    bases = np.array([picture.base for picture in candidates.pictures])
    ranks = []
    for picture, distances in zip(asked.pictures, torch.cdist(drawn, real), strict=True):
        same = np.flatnonzero(styles == picture.style)
        order = same[distances[torch.from_numpy(same)].argsort().numpy()]
        ranks.append(int(np.flatnonzero(bases[order] == picture.base)[0]))
    return float(np.mean([rank < 1 for rank in ranks])), float(np.mean([rank < 5 for rank in ranks]))


def _coarse(pixels: np.ndarray) -> Tensor:
    return torch.nn.functional.adaptive_avg_pool2d(to_tensor(pixels), COARSE).flatten(1)


def _spread(data: Data, count: int) -> Data:
    chosen = np.unique(np.linspace(0, len(data.pictures) - 1, count).round().astype(int))
    return Data([data.pictures[i] for i in chosen], data.pixels[chosen])
