"""Which choices of the emoji recipe earn their place: short trainings that differ in one thing.

    python benchmarks/emoji_ablation.py --work FOLDER [--steps 200] [--seeds 0 1] [--only NAME ...]

`--work` is the folder of the recipe, after `data`. Two tables:

* `channels`: what PSNR the encoder's first k channels allow if they are inverted linearly, on held-out pictures. No
  training; the decoder comes on top.
* `denoiser`: squared error of v on held-out pairs and on training pictures, same noise and timesteps for all, after
  `--steps` steps of 64 examples from each seed, and what it is more than that of the first variant from the same seed
  (`more`; its interval is over pictures, so it is narrower than those of the errors). `wrong caption` is how much the
  error grows when each picture has another one's caption: how much the network listens. All variants see the same
  examples. Short trainings tell which choice learns faster, not which is better in the end.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from emoji_vae import invert, mean
from machine import describe_machine
from mezzotint_emoji.recipe import train_unet
from mezzotint_emoji.recipe.captions import full_caption
from mezzotint_emoji.recipe.data import Data, load, to_tensor
from mezzotint_emoji.recipe.encoder import LATENT_CHANNELS, LinearEncoder, load_encoder
from mezzotint_emoji.recipe.layouts import is_drawn_often
from mezzotint_emoji.recipe.networks import Denoiser, make_text_encoder, make_unet
from mezzotint_emoji.recipe.render import on_background
from mezzotint_emoji.recipe.train_decoder import psnr
from mezzotint_emoji.recipe.train_unet import SCHEDULE, VelocityLoss
from mezzotint_emoji.recipe.words import load_word_vectors
from torch import Tensor
from transformers import CLIPTokenizer


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", nargs="+", default=["channels", "denoiser"])
    options = parser.parse_args()
    print(describe_machine())
    torch.set_num_threads(1)
    data = load(options.work)
    if "channels" in options.only:
        channels(data, load_encoder(options.work / "encoder.safetensors"))
    if "denoiser" in options.only:
        denoisers(data, options.work, options.steps, options.seeds)


def channels(data: Data, encoder: LinearEncoder) -> None:
    """PSNR of the linear inverse of the first k channels."""
    unseen = data.split("pair", "concept")
    images = to_tensor(on_background(unseen.pixels))
    for count in (8, 12, 16, 24, LATENT_CHANNELS):
        kept = LinearEncoder(encoder.quarter, encoder.whole[:count], encoder.mean[:count])
        back = torch.cat([invert(kept, kept(part)) for part in images.split(64)])
        print(json.dumps({"table": "channels", "channels": count, "psnr_db": mean(psnr(back, images))}))


def denoisers(data: Data, work: Path, steps: int, seeds: list[int]) -> None:
    """Train each variant and print its errors."""
    words = load_word_vectors(work)
    tests = {name: measured_on(data, name, work) for name in ("pair", "train")}
    variants: dict[str, Callable[[], Denoiser]] = {
        "as shipped": lambda: Denoiser(make_unet(), make_text_encoder(words)),
        "random word vectors": lambda: Denoiser(make_unet(), make_text_encoder(torch.randn(words.shape))),
        "caption not added to the time embedding": lambda: Denoiser(
            make_unet(addition_embed_type=None), make_text_encoder(words)
        ),
        "channels (96, 144)": lambda: Denoiser(make_unet((96, 144)), make_text_encoder(words)),
        "channels (128, 192)": lambda: Denoiser(make_unet((128, 192)), make_text_encoder(words)),
    }
    first: dict[tuple[int, str], Tensor] = {}
    for name, make in variants.items():
        for seed in seeds:
            begin = time.process_time()
            denoiser = train(work, make, replace(SCHEDULE, steps=steps, seed=seed, ema=0.98, warmup=50))
            seconds = time.process_time() - begin
            values = {"table": "denoiser", "variant": name, "seed": seed, "steps": steps}
            for kind, inputs in tests.items():
                errors = errors_of(denoiser, *inputs)
                more = errors - first.setdefault((seed, kind), errors)
                noisy, timesteps, ids, target = inputs
                wrong = errors_of(denoiser, noisy, timesteps, ids.roll(1, 0), target) - errors
                values |= {kind: mean(errors), f"{kind}, more": mean(more)}
                values |= {f"{kind}, wrong caption": mean(wrong)}
            print(json.dumps(values | {"cpu_seconds": round(seconds)}), flush=True)


def train(work: Path, make: Callable[[], Denoiser], schedule: train_unet.Schedule) -> Denoiser:
    """One short training as the recipe does it; returns the averaged networks."""
    with tempfile.TemporaryDirectory() as folder:
        denoiser = train_unet.fit(work, make, schedule, Path(folder))
    return denoiser.eval()


def measured_on(data: Data, split: str, work: Path, count: int = 256) -> tuple[Tensor, ...]:
    """Noisy latents, timesteps, ids and targets, the same for every variant."""
    part = data.where(lambda picture: picture.split == split and is_drawn_often(picture))
    part = part.take(sorted(np.random.default_rng(3).permutation(len(part.pictures))[:count]))
    latents = load_encoder(work / "encoder.safetensors")(to_tensor(on_background(part.pixels)))
    noisy, timesteps, target = VelocityLoss().draw(latents, torch.Generator().manual_seed(0))
    captions = [full_caption(picture) for picture in part.pictures]
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    ids = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return noisy, timesteps, ids, target


@torch.no_grad()
def errors_of(denoiser: Denoiser, *inputs: Tensor) -> Tensor:
    """Squared error of v of each picture, (n,)."""
    errors = [
        (denoiser(noisy, timesteps, ids) - target).square().mean(dim=(1, 2, 3))
        for noisy, timesteps, ids, target in zip(*(tensor.split(64) for tensor in inputs), strict=True)
    ]
    return torch.cat(errors)


if __name__ == "__main__":
    main()
