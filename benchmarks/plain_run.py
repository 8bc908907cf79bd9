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
from collections.abc import Callable
from pathlib import Path

import diffusers
import torch
from machine import describe_machine
from paired import in_turn, ratio, timed


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
        seconds = in_turn({"ours": timed(ours), "diffusers": timed(theirs)}, options.pairs)
    print(
        f"mezzotint {statistics.median(seconds['ours']):.4f} s, diffusers {statistics.median(seconds['diffusers']):.4f} s "
        f"(medians of {options.pairs}, {options.steps} steps)"
    )
    print(f"ratio, with its 95 % interval: {ratio(seconds['ours'], seconds['diffusers']):.4f}")


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


if __name__ == "__main__":
    main()
