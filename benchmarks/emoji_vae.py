"""What a VAE gives back of pictures that it was not trained on: PSNR and a perceptual distance.

    python benchmarks/emoji_vae.py --work FOLDER [--vae FOLDER ...] [--count 200] [--sheet sheet.png]

`--work` is the folder of the recipe, after `data`. Measured on the same held-out pictures (on white) and on scenes of
held-out pictures (colours, sizes, two things), side by side for each VAE, with 95 % bootstrap intervals; for scale, the
linear inverse of the recipe's encoder, which needs no decoder. The perceptual distance is explained in
`emoji_perceptual.py`; it is not LPIPS.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from emoji_perceptual import PerceptualDistance
from machine import describe_machine
from mezzotint_emoji import MODEL
from mezzotint_emoji.recipe.data import Data, load, to_tensor
from mezzotint_emoji.recipe.encoder import LinearEncoder, load_encoder
from mezzotint_emoji.recipe.layouts import Composer
from mezzotint_emoji.recipe.render import on_background
from mezzotint_emoji.recipe.train_decoder import psnr
from PIL import Image
from torch import Tensor
from torch.nn.functional import conv_transpose2d

Reconstruct = Callable[[Tensor], Tensor]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--vae", type=Path, nargs="+", default=[MODEL / "vae"])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--sheet", type=Path, help="originals and reconstructions, in pairs of rows")
    options = parser.parse_args()
    print(describe_machine())
    unseen = load(options.work).split("pair", "concept")
    chosen = np.random.default_rng(5).permutation(len(unseen.pictures))[: options.count]
    unseen = unseen.take(sorted(chosen))
    images = {"held-out pictures": to_tensor(on_background(unseen.pixels)), "held-out scenes": scenes(unseen)}
    distance = PerceptualDistance(options.work / "packages")
    encoder = load_encoder(options.work / "encoder.safetensors")
    candidates: dict[str, Reconstruct] = {"linear inverse": lambda x: invert(encoder, encoder(x))}
    candidates |= {str(folder): through(folder) for folder in options.vae}
    rows = [images["held-out scenes"][:16]]
    for name, reconstruct in candidates.items():
        for kind, batch in images.items():
            back = torch.cat([reconstruct(part) for part in batch.split(32)]).clamp(-1, 1)
            decibels, distances = (
                psnr(back, batch),
                torch.cat([distance(a, b) for a, b in zip(back.split(32), batch.split(32), strict=True)]),
            )
            print(
                json.dumps(
                    {"vae": name, "on": kind, "psnr_db": mean(decibels), "perceptual": mean(distances)}
                )
            )
        rows.append(back[:16])
    if options.sheet:
        pixels = torch.stack(rows).add(1).mul(127.5).round().byte().permute(0, 3, 1, 4, 2)
        Image.fromarray(pixels.reshape(len(rows) * 64, -1, 3).numpy()).save(options.sheet)


@torch.no_grad()
def through(folder: Path) -> Reconstruct:
    """Encode and decode with the VAE of a folder."""
    vae = AutoencoderKL.from_pretrained(folder).eval()

    @torch.no_grad()
    def reconstruct(images: Tensor) -> Tensor:
        return vae.decode(vae.encode(images).latent_dist.mode()).sample

    return reconstruct


def invert(encoder: LinearEncoder, latents: Tensor) -> Tensor:
    """The image of least squares that has these latents."""
    kernel = encoder.kernel.flatten(1)
    inverse = torch.linalg.pinv(kernel).T.reshape(encoder.kernel.shape)
    return conv_transpose2d(latents + encoder.mean.view(-1, 1, 1), inverse.contiguous(), stride=8)


def scenes(data: Data) -> Tensor:
    """One scene with each picture in it."""
    composer, random = Composer(data.pictures, data.pixels), np.random.default_rng(5)
    examples = []
    for index in range(len(data.pictures)):
        make = composer.two if composer.is_thing(index) and index % 2 else composer.one
        examples.append(make(index, random))
    return to_tensor(np.stack([composer.pixels_of(example) for example in examples]))


def mean(values: Tensor, rounds: int = 2000) -> dict[str, float]:
    """Mean and 95 % bootstrap interval."""
    numbers, random = values.numpy(), np.random.default_rng(0)
    means = numbers[random.integers(0, len(numbers), (rounds, len(numbers)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return {
        "mean": round(float(numbers.mean()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


if __name__ == "__main__":
    main()
