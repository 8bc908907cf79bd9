"""Putting LoRAs on a pipeline one after the other: the tenth against the first, ours and diffusers'.

    python benchmarks/lora_load.py [--count 10] [--rank 16] [--rounds 7] [--cpu-time]

Each round loads `count` files that were not seen before, each kept on while the next is loaded. A load is all from
the path to a U-Net that uses it: reading, checking, attaching. Prints medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

import mezzotint
from lora_files import random_model, save_loras, stock_pipeline
from machine import describe_machine
from mezzotint_lora import LoRA
from paired import add_clock, clock_of, in_turn


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    add_clock(parser)
    options = parser.parse_args()
    clock = clock_of(options)
    print(describe_machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = random_model(folder / "model")
        pipe, stock = mezzotint.load(model, device="cpu", dtype="float32"), stock_pipeline(model)
        paths = save_loras(pipe.unet, folder, options.count, options.rank)
        ways = {
            "ours, beside": lambda: load_ours(pipe, paths, False, clock),
            "ours, fused": lambda: load_ours(pipe, paths, True, clock),
            "diffusers": lambda: load_theirs(stock, paths, clock),
        }
        seconds = in_turn(ways, options.rounds, warm_up=1)
    last = options.count
    for way, rounds in seconds.items():
        first, final = (statistics.median(found[k] for found in rounds) * 1000 for k in (0, -1))
        ratio = statistics.median(found[-1] / found[0] for found in rounds)
        print(f"{way}: first {first:.1f} ms, number {last} {final:.1f} ms; ratio {ratio:.2f}")


def load_ours(pipe, paths, fuse, clock):  # type: ignore[no-untyped-def]
    """Seconds of each."""
    pipe.free()
    seconds = []
    with ExitStack() as stack:
        for path in paths:
            start = clock()
            stack.enter_context(pipe.using(LoRA(path, 0.7, fuse=fuse)))
            seconds.append(clock() - start)
    return seconds


def load_theirs(stock, paths, clock):  # type: ignore[no-untyped-def]
    """Seconds of each, with `set_adapters`, without which only the last is in use."""
    seconds, names = [], []
    for path in paths:
        start = clock()
        stock.load_lora_weights(path, adapter_name=path.stem)
        names.append(path.stem)
        stock.set_adapters(names, [0.7] * len(names))
        seconds.append(clock() - start)
    stock.unload_lora_weights()
    return seconds


if __name__ == "__main__":
    main()
