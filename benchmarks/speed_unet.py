"""Accelerated runs beside diffusers: default, best documented, and the packages that people add to it.

    python benchmarks/speed_unet.py [emoji | sd15] [--steps 20] [--rounds 5] [--only NAME …] [--profile]

All contestants make the same picture from the same noise, one after the other, round after round, the order
turned each time; a ratio is that of diffusers' default and a contestant within one round. Printed are the median
and the range of the ratios in wall time and in CPU time of the process: on a busy machine the second counts.
`emoji` is the repository's model; `sd15` is a U-Net of Stable Diffusion 1.5's true shape (860 million random
weights) at 256 px, with a text encoder and decoder too small to matter. What is prepared once (conversion, packing)
is done in a run of its own and printed apart.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from machine import describe_machine
from paired import in_turn

SEED, PROMPT = 7, "3d render of a ghost"
SD15 = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SD15_SIZE = (256, 256)


@dataclass(frozen=True)
class Contestant:
    """A way to make the picture."""

    name: str
    prepare: Callable[[], Any]
    """A context that holds while it is measured."""
    run: Callable[[], Any]
    """The picture's latents, or pictures."""
    exact: bool = True


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="emoji", choices=["emoji", "sd15"])
    parser.add_argument("--steps", type=int, help="default: 20, sd15: 2")
    parser.add_argument("--rounds", type=int, help="default: 5, sd15: 2")
    parser.add_argument("--only", nargs="*", default=(), help="parts of the names of contestants")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--profile", action="store_true", help="where the time goes, by operation")
    parser.add_argument("--compile", action="store_true", help="torch.compile too; minutes to start")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    small = options.model == "emoji"
    steps = options.steps or (20 if small else 2)
    print(describe_machine())
    limit = matmul_limit()
    print(f"matmul limit {limit:.0f} GFLOP/s in float32; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        pipe, stock, size = (emoji if small else sd15)(Path(folder))
        every = list(contestants(pipe, stock, steps, size, options.compile))
        chosen = [
            one
            for one in every
            if one is every[0] or not options.only or any(part in one.name for part in options.only)
        ]
        print(
            f"{options.model}, {size[0]}x{size[1]}, {steps} steps, guidance pair; {flop(pipe, size):.3g} GFLOP a step"
        )
        compete(chosen, options.rounds or (5 if small else 2), limit, flop(pipe, size) * steps)
        if options.profile:
            profile(chosen)
    print(f"load at the end {os.getloadavg()[0]:.1f}")


def emoji(folder: Path) -> tuple[Any, Any, tuple[int, int]]:
    """The repository's model in both programs."""
    import mezzotint

    pipe = mezzotint.load("emoji")
    return pipe, stock_of(pipe), pipe.native_size


def sd15(folder: Path) -> tuple[Any, Any, tuple[int, int]]:
    """The U-Net of Stable Diffusion 1.5, random, with small companions."""
    from mezzotint.models.components import Components, Source, TextEncoder
    from mezzotint.pipeline.pipeline import Pipeline
    from mezzotint.plugins.registry import Registry
    from mezzotint.testing import tiny_pipeline
    from transformers import CLIPTextConfig, CLIPTextModel

    tiny = tiny_pipeline(folder / "tiny")
    torch.manual_seed(0)
    text = CLIPTextConfig(
        vocab_size=len(tiny.tokenizer), hidden_size=768, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=12, max_position_embeddings=77,
        bos_token_id=len(tiny.tokenizer) - 2, eos_token_id=len(tiny.tokenizer) - 1,
    )  # fmt: skip
    tiny.tokenizer.model_max_length = 77
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8,) * 4, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, norm_num_groups=4,
    )  # fmt: skip
    components = Components(
        unet=diffusers.UNet2DConditionModel(**SD15).eval(),
        vae=vae.eval(),
        text_encoders={"text_encoder": TextEncoder(CLIPTextModel(text).eval(), tiny.tokenizer)},
        scheduler=tiny.scheduler,
    )
    pipe = Pipeline(components, Registry.load(()), Source("sd15", None))
    return pipe, stock_of(pipe), SD15_SIZE


def stock_of(pipe: Any) -> Any:
    """diffusers' pipeline over the same models."""
    stock = diffusers.StableDiffusionPipeline(
        vae=pipe.vae, text_encoder=pipe.text_encoder, tokenizer=pipe.tokenizer, unet=pipe.unet,
        scheduler=pipe.scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    stock.set_progress_bar_config(disable=True)
    return stock


def contestants(
    pipe: Any, stock: Any, steps: int, size: tuple[int, int], with_compile: bool
) -> Iterator[Contestant]:
    """diffusers' default first, as the measure of the others."""

    def theirs() -> Any:
        return stock(
            PROMPT, num_inference_steps=steps, guidance_scale=5.0, width=size[0], height=size[1],
            generator=torch.Generator("cpu").manual_seed(SEED),
        ).images  # fmt: skip

    def ours(*names: str, **options: Any) -> Contestant:
        use = [pipe.registry.extensions[name](**options.get(name.replace("-", "_"), {})) for name in names]
        label = " + ".join(
            " ".join([name, *(f"{k}={v}" for k, v in options.get(name.replace("-", "_"), {}).items())])
            for name in names
        )
        exact = not set(names) - {"fast", "openvino", "compile"}

        def run() -> Any:
            return pipe(PROMPT, steps=steps, guidance=5.0, size=size, seed=SEED).images

        prepare = (lambda: pipe.using(*use)) if use else nullcontext
        return Contestant(f"mezzotint {label}".strip(), prepare, run, exact)

    yield Contestant("diffusers", nullcontext, theirs)
    yield ours()
    yield Contestant("diffusers channels_last, fused qkv", lambda: best_documented(stock), theirs)
    yield ours("fast", fast={"exact": True})
    if with_compile:
        yield Contestant("diffusers compile_repeated_blocks", lambda: compiled(stock), theirs)
        yield ours("fast", fast={"exact": True, "compile": True})
    if "openvino" in pipe.registry.extensions:
        yield Contestant("diffusers, U-Net by openvino.convert_model", lambda: converted(stock, size), theirs)
        yield ours("openvino")
    interval = 3 if steps > 3 else 2
    yield Contestant(
        f"diffusers, DeepCache interval={interval}", lambda: deepcache(stock, interval), theirs, False
    )
    yield ours("deepcache", deepcache={"interval": interval})
    yield ours("fast", "deepcache", fast={"exact": True}, deepcache={"interval": interval})
    if steps > 5:
        yield ours("fast", "deepcache", fast={"exact": True}, deepcache={"interval": 5})
        yield ours("fast", "easycache", fast={"exact": True}, easycache={"threshold": 0.15})
    yield Contestant("diffusers, tomesd ratio=0.5", lambda: tomesd(stock), theirs, False)
    yield ours("token-merging")


@contextmanager
def best_documented(stock: Any) -> Iterator[None]:
    """diffusers' settings for speed that need no compiler."""
    unet = stock.unet
    before = {parameter: parameter.data for parameter in unet.parameters()}
    unet.to(memory_format=torch.channels_last)
    unet.fuse_qkv_projections()
    try:
        yield
    finally:
        unet.unfuse_qkv_projections()
        for layer in unet.modules():
            for name in ("to_qkv", "to_kv"):
                layer._modules.pop(name, None)
        # The storage itself: in other storage, what others have packed or converted would have to be made anew.
        for parameter, data in before.items():
            parameter.data = data
        from diffusers.models.attention_processor import AttnProcessor2_0

        unet.set_attn_processor(AttnProcessor2_0())


@contextmanager
def compiled(stock: Any) -> Iterator[None]:
    """Regional compilation as diffusers documents it."""
    stock.unet.compile_repeated_blocks(dynamic=False)
    try:
        yield
    finally:
        for module in stock.unet.modules():
            module._compiled_call_impl = None


@contextmanager
def converted(stock: Any, size: tuple[int, int]) -> Iterator[None]:
    """The U-Net by OpenVINO's own converter with fixed shapes, in diffusers' loop."""
    import openvino

    unet = stock.unet

    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unet = unet

        def forward(self, sample: Any, timestep: Any, states: Any) -> Any:
            return self.unet(sample, timestep, states, return_dict=False)[0]

    side = size[0] // stock.vae_scale_factor
    sample = torch.zeros(2, unet.config.in_channels, side, side)
    tokens = stock.tokenizer.model_max_length
    example = (sample, torch.tensor(1), torch.zeros(2, tokens, unet.config.cross_attention_dim))
    if not hasattr(stock, "_converted"):
        os.environ["CI"] = "true"  # No report of the conversion to a server.
        with torch.no_grad():
            model = openvino.convert_model(
                Plain(), example_input=example, input=[list(each.shape) for each in example]
            )
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        if unet.config.resnet_time_scale_shift == "scale_shift":
            settings["SNIPPETS_MODE"] = "DISABLE"  # It crashes otherwise.
        stock._converted = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def forward(sample: Any, timestep: Any, encoder_hidden_states: Any = None, **_: Any) -> Any:
        inputs = [each.contiguous().numpy() for each in (sample, timestep, encoder_hidden_states)]
        outputs = stock._converted.infer(inputs)
        return (torch.from_numpy(next(iter(outputs.values()))),)

    unet.forward = forward
    try:
        yield
    finally:
        del unet.forward


@contextmanager
def deepcache(stock: Any, interval: int) -> Iterator[None]:
    """The DeepCache package."""
    from DeepCache import DeepCacheSDHelper

    helper = DeepCacheSDHelper(pipe=stock)
    helper.set_params(cache_interval=interval, cache_branch_id=0)
    helper.enable()
    try:
        yield
    finally:
        helper.disable()
        for module in stock.unet.modules():
            vars(module).pop("forward", None)


@contextmanager
def tomesd(stock: Any) -> Iterator[None]:
    """The tomesd package."""
    import tomesd

    tomesd.apply_patch(stock, ratio=0.5)
    try:
        yield
    finally:
        tomesd.remove_patch(stock)


@torch.no_grad()
def compete(chosen: list[Contestant], rounds: int, limit: float, work: float) -> None:
    """Run all in turn and print a line for each."""
    first, pictures = {}, {}
    for one in chosen:
        with one.prepare():
            began = time.perf_counter()
            pictures[one.name] = one.run()
            first[one.name] = time.perf_counter() - began
    times = in_turn({one.name: partial(seconds_of, one) for one in chosen}, rounds)
    wall = {name: [seconds for seconds, _ in found] for name, found in times.items()}
    cpu = {name: [seconds for _, seconds in found] for name, found in times.items()}
    base = chosen[0].name
    width = max(len(one.name) for one in chosen)
    print(f"{'':{width}}  wall s  CPU s   ratio by wall time      ratio by CPU time       PSNR  first run s")
    for one in chosen:
        print(
            f"{one.name:{width}}  {statistics.median(wall[one.name]):6.2f}  {statistics.median(cpu[one.name]):5.2f}"
            f"  {ratio(wall[base], wall[one.name])}  {ratio(cpu[base], cpu[one.name])}"
            f"  {distance(pictures[one.name], pictures[base]):>5}  {first[one.name]:11.1f}"
        )
    fastest = min(statistics.median(cpu[one.name]) for one in chosen if one.exact)
    print(
        f"the U-Net's multiplications at the matmul limit: {work / limit:.2f} s; "
        f"diffusers is {statistics.median(cpu[base]) * limit / work:.1f} times that, "
        f"the fastest exact one {fastest * limit / work:.1f} times (CPU time)"
    )


def seconds_of(one: Contestant) -> tuple[float, float]:
    """Of one run: on the clock, and of the process."""
    with one.prepare():
        began, used = time.perf_counter(), time.process_time()
        one.run()
        return time.perf_counter() - began, time.process_time() - used


def ratio(base: list[float], own: list[float]) -> str:
    """Median and range of the ratios within a round."""
    each = [a / b for a, b in zip(base, own, strict=True)]
    return f"{statistics.median(each):5.2f} ({min(each):.2f} to {max(each):.2f})".ljust(22)


def distance(pictures: Any, exact: Any) -> str:
    """PSNR in dB."""
    errors = [
        np.mean((np.asarray(a, dtype=float) - np.asarray(b, dtype=float)) ** 2)
        for a, b in zip(pictures, exact, strict=True)
    ]
    error = float(np.mean(errors))
    return "equal" if error == 0 else f"{10 * math.log10(255**2 / error):.1f}"


def matmul_limit() -> float:
    """GFLOP in a second of CPU time and thread, of a large product, times the threads."""
    a = torch.randn(1536, 1536)
    best = math.inf
    for _ in range(8):
        began = time.process_time()
        a @ a
        best = min(best, time.process_time() - began)
    return 2 * 1536**3 / best / 1e9


def flop(pipe: Any, size: tuple[int, int]) -> float:
    """GFLOP of a guidance pair through the U-Net, counted by torch."""
    from torch.utils.flop_counter import FlopCounterMode

    unet = pipe.unet
    height, width = size[1] // pipe.vae_scale_factor, size[0] // pipe.vae_scale_factor
    with torch.device("meta"):
        shadow = diffusers.UNet2DConditionModel.from_config(unet.config)
        sample = torch.zeros(2, unet.config.in_channels, height, width)
        states = torch.zeros(2, pipe.tokenizer.model_max_length, unet.config.cross_attention_dim)
        timestep = torch.tensor(1)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shadow(sample, timestep, states)
    return counter.get_total_flops() / 1e9


@torch.no_grad()
def profile(chosen: list[Contestant]) -> None:
    """Where the time of diffusers and of each exact contestant goes."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiled

    for one in chosen:
        if not one.exact:
            continue
        with one.prepare():
            one.run()
            with profiled(activities=[ProfilerActivity.CPU]) as seen:
                one.run()
        averages = sorted(seen.key_averages(), key=lambda each: -each.self_cpu_time_total)
        total = sum(each.self_cpu_time_total for each in averages)
        top = [f"{each.key} {each.self_cpu_time_total / total:.0%}" for each in averages[:8]]
        print(f"{one.name}: {', '.join(top)}")


if __name__ == "__main__":
    main()
