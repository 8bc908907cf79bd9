"""Peak memory of a run against batch, size, steps and number of extensions; flat in steps.

    python benchmarks/speed_memory.py [--output docs/images/memory.png] [--model FOLDER] [--ways plain …]

Each point is a process of its own, so that no earlier run's memory counts: the peak of its resident memory during a
run, above what it held just before. Without a model, a random one whose U-Net has a few million parameters.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import describe_machine

BASE = {"n": 1, "side": 128, "steps": 4, "extensions": 0}
AXES = {
    "n": ("images at once", [1, 2, 4, 8]),
    "side": ("side in pixels", [64, 128, 192, 256]),
    "steps": ("steps", [2, 4, 8, 16, 32]),
    "extensions": ("extensions", [0, 5, 10, 20]),
}
WAYS: dict[str, tuple[str, ...]] = {"plain": (), "fast": ("fast",), "deepcache": ("deepcache",)}
POINT = """
import json, sys, tempfile
import torch
torch.set_num_threads(1)
import mezzotint
from mezzotint import Extension, hookimpl
from mezzotint_blocks.speed.measure import peak_memory
from pathlib import Path
folder, n, side, steps, count, names = json.loads(sys.argv[1])
pipe = mezzotint.load(folder)
def no_op(number):
    class NoOp(Extension, name=f"no-op-{number}"):
        @hookimpl
        def step_end(self, latents, run): ...
        @hookimpl
        def unet_block_output(self, hidden_states): ...
    return NoOp
use = [no_op(k)() for k in range(count)] + [pipe.registry.extensions[name]() for name in names]
pipe("a", steps=1, size=(64, 64), seed=1)
held = int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20
with peak_memory(pipe.device) as peak:
    pipe("a", steps=steps, n=n, size=(side, side), seed=1, guidance=5.0, use=use)
print(json.dumps(peak() - held))
"""


def main() -> None:
    """Measure, print and plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a diffusers folder; default: a random model")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="default: all")
    parser.add_argument("--output", type=Path, help="write a plot; needs matplotlib")
    options = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or random_model(Path(folder))
        found = {
            axis: {
                name: [point(model, {**BASE, axis: value}, WAYS[name]) for value in values]
                for name in options.ways
            }
            for axis, (_, values) in AXES.items()
        }
    for axis, (label, values) in AXES.items():
        for name, peaks in found[axis].items():
            row = ", ".join(f"{value}: {peak:.0f}" for value, peak in zip(values, peaks, strict=True))
            print(f"{name:10} MB above the model by {label}: {row}")
    if options.output:
        plot(found, options.output)


def random_model(folder: Path) -> Path:
    """A random model of a few million parameters."""
    from mezzotint.testing import save_tiny_model

    return save_tiny_model(
        folder, block_out_channels=(64, 128), layers_per_block=2, attention_head_dim=8, norm_num_groups=32
    )


def point(model: Path, at: dict[str, int], names: tuple[str, ...]) -> float:
    """MB at one point, in a process of its own."""
    arguments = [str(model), at["n"], at["side"], at["steps"], at["extensions"], names]
    done = subprocess.run(
        [sys.executable, "-c", POINT, json.dumps(arguments)], check=True, capture_output=True, text=True
    )
    return float(done.stdout.strip().splitlines()[-1])


def plot(found: dict[str, dict[str, list[float]]], output: Path) -> None:
    """Four panels, one for each axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 4, figsize=(12, 3), sharey=False, layout="constrained")
    for panel, (axis, (label, values)) in zip(panels, AXES.items(), strict=True):
        for name, peaks in found[axis].items():
            panel.plot(values, peaks, marker="o", label=name)
        panel.set_xlabel(label)
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("peak MB above the model")
    panels[0].legend(frameon=False)
    figure.savefig(output, dpi=110)


if __name__ == "__main__":
    main()
