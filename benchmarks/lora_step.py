"""A step with LoRAs on the U-Net, against diffusers' `load_lora_weights` and `fuse_lora`, interleaved in one process.

    python benchmarks/lora_step.py [--pairs 30] [--rank 16] [--loras 1,3]

For each number of LoRAs: the U-Net without any, with them beside the weights and fused, ours and diffusers' in
turn. Prints medians, and the median of the per-round ratios ours / diffusers with its 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import mezzotint
from lora_files import predictor, random_model, save_loras, stock_pipeline
from machine import describe_machine
from mezzotint_lora import LoRA
from plain_run import bootstrap


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--loras", default="1,3")
    options = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = random_model(folder / "model")
        pipe, stock = mezzotint.load(model, device="cpu", dtype="float32"), stock_pipeline(model)
        counts = [int(part) for part in options.loras.split(",")]
        paths = save_loras(pipe.unet, folder, max(counts), options.rank)
        for count in counts:
            for fuse in (False, True):
                compare(pipe, stock, paths[:count], fuse, options.pairs)


def compare(pipe, stock, paths, fuse, rounds):  # type: ignore[no-untyped-def]
    """One line: ours, diffusers' and the bare U-Net."""
    ours, theirs = predictor(pipe.unet), predictor(stock.unet)
    names = [path.stem for path in paths]
    for path, adapter in zip(paths, names, strict=True):
        stock.load_lora_weights(path, adapter_name=adapter)
    stock.set_adapters(names, [0.7] * len(names))
    if fuse:
        stock.fuse_lora(adapter_names=names)
    times: dict[str, list[float]] = {"ours": [], "diffusers": [], "bare": []}
    with pipe.using(*(LoRA(path, 0.7, fuse=fuse) for path in paths)):
        # Fused, diffusers' factors stay in the layers, switched off.
        difference = (ours() - theirs()).abs().max().item()
        assert difference < 1e-3, f"the predictions differ by {difference}: this is no comparison of equals"
        for turn in range(rounds):
            for name, run in (("ours", ours), ("diffusers", theirs))[:: 1 if turn % 2 else -1]:
                times[name].append(timed(run))
    if fuse:
        stock.unfuse_lora()
    stock.unload_lora_weights()
    for _ in range(rounds):
        times["bare"].append(timed(ours))
    ratios = [a / b for a, b in zip(times["ours"], times["diffusers"], strict=True)]
    low, high = bootstrap(ratios)
    medians = {name: statistics.median(values) * 1000 for name, values in times.items()}
    print(
        f"{len(paths)} LoRA{'s' if len(paths) > 1 else ''} {'fused' if fuse else 'beside'}: "
        f"ours {medians['ours']:.1f} ms, diffusers {medians['diffusers']:.1f} ms, none {medians['bare']:.1f} ms; "
        f"ours / diffusers {statistics.median(ratios):.3f}, 95 % interval {low:.3f} to {high:.3f}"
    )


def timed(run) -> float:  # type: ignore[no-untyped-def]
    """Seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
