"""Runs with one and two ControlNets against diffusers' pipelines, paired and interleaved in one process.

    python benchmarks/controlnet_step.py [--pairs 20] [--steps 6]

Prints for each number of networks the median of the per-pair ratios mezzotint / diffusers with its 95 %
bootstrap interval, and how the time grows with the number of networks. Times are CPU seconds of the process,
so that other work on the machine counts less. The models are random; the latents
of both sides are compared first and are equal bit for bit.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import mezzotint
import numpy as np
import torch
from machine import describe_machine
from mezzotint_controlnet import ControlNet
from paired import in_turn, ratio, timed
from PIL import Image
from plain_run import random_model

HINT = (16, 32)
"""Channels of the networks' picture embedding; one stage less than Stable Diffusion's, as the VAE has."""
SIZE = 32


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()
    print(describe_machine())
    seconds: dict[int, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        pipe = mezzotint.load(random_model(Path(folder) / "model"))
        networks = [random_controlnet(pipe, Path(folder) / f"net-{k}", k) for k in range(2)]
        for count in range(3):
            ours, theirs = runners(pipe, networks[:count], options.steps)
            assert torch.equal(ours(), theirs()), "the latents differ: this is not a comparison of equals"
            ways = {"ours": timed(ours, time.process_time), "diffusers": timed(theirs, time.process_time)}
            times = in_turn(ways, options.pairs)
            seconds[count] = (statistics.median(times["ours"]), statistics.median(times["diffusers"]))
            print(
                f"{count} ControlNets: ratio, with its 95 % interval: {ratio(times['ours'], times['diffusers']):.4f}; "
                f"a step takes {1000 * seconds[count][0] / options.steps:.1f} ms, "
                f"diffusers {1000 * seconds[count][1] / options.steps:.1f} ms"
            )
    for name, which in (("mezzotint", 0), ("diffusers", 1)):
        growth = ", ".join(f"{count}: {seconds[count][which] / seconds[0][which]:.2f}" for count in (1, 2))
        print(f"{name}, times a run without ControlNet: {growth}")


def random_controlnet(pipe: mezzotint.Pipeline, folder: Path, seed: int) -> Path:
    """A ControlNet of the pipeline's U-Net with random weights."""
    torch.manual_seed(seed)
    network = diffusers.ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=HINT)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    network.save_pretrained(folder)
    return folder


def runners(
    pipe: mezzotint.Pipeline, networks: list[Path], steps: int
) -> tuple[Callable[[], torch.Tensor], Callable[[], torch.Tensor]]:
    """Two functions that make the same latents and decode them."""
    generator = np.random.default_rng(0)
    pictures = [
        Image.fromarray(generator.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)) for _ in networks
    ]
    use = [ControlNet(network, picture) for network, picture in zip(networks, pictures, strict=True)]
    stock = stock_pipeline(pipe, networks)
    control: dict[str, Any] = {"image": pictures if len(pictures) > 1 else pictures[0]} if pictures else {}

    def ours() -> torch.Tensor:
        return pipe("a cat", steps=steps, seed=1, guidance=5.0, size=(SIZE, SIZE), use=use).latents

    def theirs() -> torch.Tensor:
        latents: list[torch.Tensor] = []

        def keep(pipeline, step, timestep, values):  # type: ignore[no-untyped-def]
            latents[:] = [values["latents"]]
            return values

        stock(
            "a cat",
            **control,
            num_inference_steps=steps,
            guidance_scale=5.0,
            height=SIZE,
            width=SIZE,
            generator=torch.Generator("cpu").manual_seed(1),
            callback_on_step_end=keep,
        )
        return latents[0]

    return ours, theirs


def stock_pipeline(pipe: mezzotint.Pipeline, networks: list[Path]) -> Any:
    """diffusers' pipeline class for that many ControlNets, over the same modules."""
    parts: dict[str, Any] = {
        "vae": pipe.vae,
        "text_encoder": pipe.text_encoder,
        "tokenizer": pipe.tokenizer,
        "unet": pipe.unet,
        "scheduler": copy.deepcopy(pipe.scheduler),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
    loaded = [diffusers.ControlNetModel.from_pretrained(network) for network in networks]
    if not loaded:
        stock: Any = diffusers.StableDiffusionPipeline(**parts)
    else:
        controlnet = loaded if len(loaded) > 1 else loaded[0]
        stock = diffusers.StableDiffusionControlNetPipeline(controlnet=controlnet, **parts)
    stock.set_progress_bar_config(disable=True)
    return stock


if __name__ == "__main__":
    main()
