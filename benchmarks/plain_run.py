"""A run without extensions against the stock diffusers pipeline, paired and interleaved in one process.

    python benchmarks/plain_run.py [--model FOLDER] [--pairs 40] [--steps 10]

Prints the median of the per-pair ratios mezzotint / diffusers and its 95 % bootstrap interval. Without a
folder it measures a random model whose U-Net takes tens of milliseconds a step, so that the ratio is about
the pipeline and not about noise.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import diffusers
import numpy as np
import torch
from machine import describe_machine


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a diffusers folder; default: a random model")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or random_model(Path(folder))
        ours, theirs = runners(model, options.steps)
        assert torch.equal(ours(), theirs()), "the latents differ: this is not a comparison of equals"
        ratios, seconds = measure(ours, theirs, options.pairs)
    low, high = bootstrap(ratios)
    print(
        f"mezzotint {seconds[0]:.4f} s, diffusers {seconds[1]:.4f} s (medians of {len(ratios)}, {options.steps} steps)"
    )
    print(f"ratio {statistics.median(ratios):.4f}, 95 % interval {low:.4f} to {high:.4f}")


def random_model(folder: Path) -> Path:
    """A random model of a few million parameters."""
    from mezzotint.testing import save_tiny_model

    return save_tiny_model(
        folder, block_out_channels=(128, 256), layers_per_block=2, attention_head_dim=8, norm_num_groups=32
    )


def runners(model: Path, steps: int) -> tuple[Callable[[], torch.Tensor], Callable[[], torch.Tensor]]:
    """Two functions that make the same latents and decode them."""
    import mezzotint

    pipe = mezzotint.load(model)
    stock = diffusers.StableDiffusionPipeline.from_pretrained(model, safety_checker=None)
    stock.set_progress_bar_config(disable=True)

    def ours() -> torch.Tensor:
        return pipe("a cat", steps=steps, seed=1, guidance=5.0).latents

    def theirs() -> torch.Tensor:
        latents = []

        def keep(pipeline, step, timestep, values):  # type: ignore[no-untyped-def]
            latents[:] = [values["latents"]]
            return values

        generator = torch.Generator("cpu").manual_seed(1)
        stock(
            "a cat",
            num_inference_steps=steps,
            guidance_scale=5.0,
            generator=generator,
            callback_on_step_end=keep,
        )
        return latents[0]

    return ours, theirs


def measure(
    ours: Callable[[], object], theirs: Callable[[], object], pairs: int
) -> tuple[list[float], tuple[float, float]]:
    """Per-pair ratios, the order within a pair alternating, and both medians."""
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for pair in range(pairs):
        order = [("ours", ours), ("theirs", theirs)]
        for name, run in order if pair % 2 else order[::-1]:
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(times["ours"], times["theirs"], strict=True)]
    return ratios, (statistics.median(times["ours"]), statistics.median(times["theirs"]))


def bootstrap(ratios: list[float]) -> tuple[float, float]:
    """95 % interval of the median."""
    samples = np.random.default_rng(0).choice(ratios, size=(2000, len(ratios)))
    low, high = np.percentile(np.median(samples, axis=1), [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    main()
