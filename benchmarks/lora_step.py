"""A step with LoRAs on the U-Net, against diffusers' `load_lora_weights` and `fuse_lora`, interleaved in one process.

    python benchmarks/lora_step.py [--pairs 30] [--rank 16] [--loras 1,3] [--size 32] [--cpu-time]

For each number of LoRAs, beside the weights and fused: ours, diffusers' and the U-Net without any, in turn. Prints
medians, and the medians of the per-round ratios to diffusers and to none with their 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import mezzotint
from lora_files import predictor, random_model, save_loras, stock_pipeline
from machine import describe_machine
from mezzotint_lora import LoRA
from paired import add_clock, clock_of, in_turn, ratio, timed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--loras", default="1,3")
    parser.add_argument("--size", type=int, default=32, help="of the latents")
    add_clock(parser)
    options = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = random_model(folder / "model")
        pipe, bare = (mezzotint.load(model, device="cpu", dtype="float32") for _ in range(2))
        stock = stock_pipeline(model)
        counts = [int(part) for part in options.loras.split(",")]
        paths = save_loras(pipe.unet, folder, max(counts), options.rank)
        for count in counts:
            for fuse in (False, True):
                compare(pipe, stock, bare, paths[:count], fuse, options)


def compare(pipe, stock, bare, paths, fuse, options):  # type: ignore[no-untyped-def]
    """One line: ours, diffusers' and the bare U-Net."""
    ours, theirs, none = (predictor(each.unet, options.size) for each in (pipe, stock, bare))
    clock = clock_of(options)
    names = [path.stem for path in paths]
    for path, adapter in zip(paths, names, strict=True):
        stock.load_lora_weights(path, adapter_name=adapter)
    stock.set_adapters(names, [0.7] * len(names))
    if fuse:
        stock.fuse_lora(adapter_names=names)
    with pipe.using(*(LoRA(path, 0.7, fuse=fuse) for path in paths)):
        # Fused, diffusers' factors stay in the layers, switched off.
        difference = (ours() - theirs()).abs().max().item()
        assert difference < 1e-3, f"the predictions differ by {difference}: this is no comparison of equals"
        none()
        ways = {"ours": ours, "diffusers": theirs, "none": none}
        times = in_turn({name: timed(run, clock) for name, run in ways.items()}, options.pairs)
    if fuse:
        stock.unfuse_lora()
    stock.unload_lora_weights()
    medians = {name: statistics.median(values) * 1000 for name, values in times.items()}
    print(
        f"{len(paths)} LoRA{'s' if len(paths) > 1 else ''} {'fused' if fuse else 'beside'}: "
        f"ours {medians['ours']:.1f} ms, diffusers {medians['diffusers']:.1f} ms, none {medians['none']:.1f} ms; "
        + "; ".join(
            f"ours / {other} {ratio(times['ours'], times[other]):.3f}" for other in ("diffusers", "none")
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
