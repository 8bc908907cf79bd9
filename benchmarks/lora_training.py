"""LoRA training: ours with and without caches, diffusers' own loop, and peft with the least around it.

    python benchmarks/lora_training.py [--model NAME] [--pictures 64] [--batch-size 8] [--steps 6] [--rounds 5]
        [--dtype float32] [--compile] [--cpu-time] [--no-memory]

`--model sd15-quarter` is Stable Diffusion 1.5 at 256 pixels with every width a quarter, random: VAE, text encoder and U-Net
have nearly the shares of a step that they have there (`lora_training_bound.py` counts them), at a sixteenth of the work.

All train the same layers at the same rank on the same pictures, batch size and dtype, in one process. In a round each
takes some steps, in changing order; printed are images a second and the median of the per-round ratios. Reading files,
encoding and building what stays is not timed for ours with caches, as it happens once; the seconds it takes are printed.
Peak memory is that of a process of its own for each.

With `--compile` ours with caches is also run with the setting `compile`, and diffusers' loop with torch's inductor, as
`accelerate launch --dynamo_backend inductor` runs the script; compiling takes minutes, in `set up s`.

With `--dtype bfloat16` the frozen weights are kept in it and the arithmetic is autocast to it, as the script does for
`--mixed_precision bf16`; the trained ones stay in float32.

`diffusers` has the steps of its `examples/text_to_image/train_text_to_image_lora.py` as published (resize, cut,
normalise, VAE, text encoder, U-Net, AdamW), with two of its mistakes mended, since they change nothing about speed: the
parameters are a list, so that clipping clips. `peft alone` is given latents and embeddings and takes nothing but the
step of the U-Net, so it is what no loop around peft's layers can beat.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import mezzotint
import numpy as np
import torch
import torch.nn.functional as F
from machine import describe_machine
from mezzotint import Pipeline
from paired import add_clock, clock_of, in_turn, ratio, timed
from PIL import Image

RANK, RATE = 8, 1e-4
TARGETS = ["to_k", "to_q", "to_v", "to_out.0"]
QUARTER_UNET = {
    "sample_size": 32,
    "block_out_channels": (80, 160, 320, 320),
    "cross_attention_dim": 192,
    "attention_head_dim": 8,
    "norm_num_groups": 16,
}
QUARTER_VAE = {
    "sample_size": 256,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (32, 64, 128, 128),
    "layers_per_block": 2,
    "latent_channels": 4,
}
QUARTER_TEXT = {
    "hidden_size": 192,
    "intermediate_size": 768,
    "projection_dim": 192,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
}
Step = Callable[[], None]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="emoji")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6, help="in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="also compiled ones")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    add_clock(parser)
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--memory-of", choices=list(EVERY_LOOP), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(json.dumps(peak_memory(options)))
        return
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if options.model == "sd15-quarter":
            options.model = str(save_quarter_sd15(Path(folder) / "sd15-quarter"))
        pictures = write_pictures(Path(folder) / "pictures", options.pictures)
        steps, prepared = {}, {}
        loops = EVERY_LOOP if options.compile else LOOPS
        for name, make in loops.items():
            began = time.perf_counter()
            pipe = mezzotint.load(options.model, dtype=getattr(torch, options.dtype))
            steps[name] = stack.enter_context(Stepping(make(pipe, pictures, options.batch_size)))
            steps[name]()
            prepared[name] = time.perf_counter() - began
        ways = {name: timed(repeated(step, options.steps), clock_of(options)) for name, step in steps.items()}
        seconds = in_turn(ways, options.rounds)
        memory = {name: memory_of(name, options) if options.memory else float("nan") for name in loops}
    images = options.steps * options.batch_size
    of_ours = [name for name in seconds if name.startswith("ours")]
    print(f"{'':49}how many times as fast is")
    print(
        f"{'loop':20}{'images/s':>10}{'peak MB':>9}{'set up s':>10}"
        + "".join(f"{name:>26}" for name in of_ours)
    )
    for name, times in seconds.items():
        ratios = [ratio(times, seconds[ours]) for ours in of_ours]
        print(
            f"{name:20}{images / statistics.median(times):10.1f}{memory[name]:9.0f}{prepared[name]:10.1f}   "
            + "".join(f"{f'{found:.2f}':>26}" for found in ratios)
        )


def repeated(step: Step, count: int) -> Step:
    """Several steps as one call."""

    def steps() -> None:
        for _ in range(count):
            step()

    return steps


class Stepping:
    """A loop that is written as a generator, one step at a time."""

    def __init__(self, loop: Iterator[None]) -> None:
        self.loop = loop

    def __enter__(self) -> Step:
        return lambda: next(self.loop)

    def __exit__(self, *exception: object) -> None:
        self.loop.close()  # type: ignore[attr-defined]


def ours(
    pipe: Pipeline, pictures: Path, batch_size: int, cache: str, *, compiles: bool = False
) -> Iterator[None]:
    """`mezzotint_training.train`, stopped after each step."""
    from mezzotint_lora.training import LoRASettings, attached_lora
    from mezzotint_training import prepare
    from mezzotint_training.training import Training

    settings = LoRASettings(
        steps=10**6,
        batch_size=batch_size,
        rank=RANK,
        learning_rate=RATE,
        targets="attention",
        cache=cache,
        vae_batch_size=batch_size,
        mixed_precision=precision_of(pipe),
        compile=compiles,
        tensorboard=False,
        save_every=10**6,
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        attached_lora(pipe, settings) as lora,
        Training(
            lora, prepare(pictures, settings, pipe), Path(folder) / "a.safetensors", Path(folder) / "a"
        ) as training,
    ):
        training.begin(resume=False)
        batches = training.batches.ahead(training._draws())
        while True:
            training._take_step(batches)
            yield


def diffusers_loop(
    pipe: Pipeline, pictures: Path, batch_size: int, *, compiles: bool = False
) -> Iterator[None]:
    """The steps of diffusers' `train_text_to_image_lora.py`, with torchvision's transforms written out."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import cast_training_params
    from peft import LoraConfig

    unet, vae, text_encoder, tokenizer = pipe.unet, pipe.vae, pipe.text_encoder, pipe.tokenizer
    noise_scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
    AcceleratorState._reset_state()
    backend = "inductor" if compiles else None
    accelerator = Accelerator(cpu=True, mixed_precision=precision_of(pipe), dynamo_backend=backend)
    for network in (unet, vae, text_encoder):
        network.requires_grad_(False)
    unet.add_adapter(
        LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=TARGETS)
    )
    cast_training_params(unet)
    lora_layers = [p for p in unet.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(lora_layers, lr=RATE, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)
    dataset = FolderOfPictures(pictures, tokenizer, pipe.native_size[0])
    loader = torch.utils.data.DataLoader(dataset, shuffle=True, batch_size=batch_size, num_workers=0)
    lr_scheduler = get_scheduler("constant", optimizer=optimizer)
    unet, optimizer, loader, lr_scheduler = accelerator.prepare(unet, optimizer, loader, lr_scheduler)
    while True:
        unet.train()
        train_loss = 0.0
        for batch in loader:
            with accelerator.accumulate(unet):
                latents = (
                    vae.encode(batch["pixel_values"].to(vae.dtype)).latent_dist.sample()
                    * vae.config.scaling_factor
                )
                noise = torch.randn_like(latents)
                count = noise_scheduler.config.num_train_timesteps
                timesteps = torch.randint(0, count, (len(latents),), device=latents.device).long()
                noisy_latents = noise_scheduler.add_noise(latents, noise, timesteps)
                encoder_hidden_states = text_encoder(batch["input_ids"], return_dict=False)[0]
                if noise_scheduler.config.prediction_type == "epsilon":
                    target = noise
                else:
                    target = noise_scheduler.get_velocity(latents, noise, timesteps)
                model_pred = unet(noisy_latents, timesteps, encoder_hidden_states, return_dict=False)[0]
                loss = F.mse_loss(model_pred.float(), target.float(), reduction="mean")
                avg_loss = accelerator.gather(loss.repeat(batch_size)).mean()
                train_loss += avg_loss.item()
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(lora_layers, 1.0)
                optimizer.step()
                lr_scheduler.step()
                optimizer.zero_grad()
            yield


def peft_alone(pipe: Pipeline, pictures: Path, batch_size: int) -> Iterator[None]:
    """The U-Net's step on a batch that is there."""
    from diffusers.training_utils import cast_training_params
    from peft import LoraConfig, inject_adapter_in_model

    pipe.unet.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TARGETS), pipe.unet)
    cast_training_params(pipe.unet)
    parameters = [p for p in pipe.unet.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE)
    side = pipe.native_size[0] // pipe.vae_scale_factor
    latents = torch.randn(batch_size, pipe.unet.config.in_channels, side, side, dtype=pipe.unet.dtype)
    with torch.no_grad():
        ids = pipe.tokenizer([""] * batch_size, padding="max_length", return_tensors="pt").input_ids
        embeddings = pipe.text_encoder(ids)[0]
    while True:
        timesteps = torch.randint(0, 1000, (batch_size,))
        with torch.autocast("cpu", torch.bfloat16, enabled=precision_of(pipe) == "bf16"):
            prediction = pipe.unet(latents, timesteps, embeddings, return_dict=False)[0]
        F.mse_loss(prediction.float(), torch.randn_like(prediction, dtype=torch.float32)).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        yield


def precision_of(pipe: Pipeline) -> str:
    """accelerate's word for the arithmetic that goes with the weights' dtype."""
    return "bf16" if pipe.unet.dtype == torch.bfloat16 else "no"


class FolderOfPictures(torch.utils.data.Dataset):
    """`Resize`, `CenterCrop`, `ToTensor` and `Normalize` of the script, and its tokenizing."""

    def __init__(self, folder: Path, tokenizer: object, side: int) -> None:
        self.paths, self.tokenizer, self.side = sorted(folder.glob("*.png")), tokenizer, side

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        image = Image.open(self.paths[index]).convert("RGB")
        scale = self.side / min(image.size)
        image = image.resize(
            (round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR
        )
        left, top = (image.width - self.side) // 2, (image.height - self.side) // 2
        image = image.crop((left, top, left + self.side, top + self.side))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255).sub(0.5).div(0.5)
        caption = self.paths[index].with_suffix(".txt").read_text()
        ids = self.tokenizer(  # type: ignore[operator]
            caption,
            max_length=self.tokenizer.model_max_length,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        ).input_ids[0]
        return {"pixel_values": pixels, "input_ids": ids}


def write_pictures(folder: Path, count: int) -> Path:
    """Pictures of 256 × 256 pixels with captions, as a person would have them."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        small = Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8))
        small.resize((256, 256), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"flat icon of picture {number}")
    return folder


def save_quarter_sd15(folder: Path) -> Path:
    """A diffusers folder of Stable Diffusion 1.5's shape, a quarter as wide, with random weights."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from mezzotint.testing import save_tiny_model
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    save_tiny_model(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", model_max_length=77)
    tokenizer.save_pretrained(folder / "tokenizer")
    torch.manual_seed(0)
    UNet2DConditionModel(**QUARTER_UNET).save_pretrained(folder / "unet")
    AutoencoderKL(**QUARTER_VAE).save_pretrained(folder / "vae")
    last = len(tokenizer) - 1
    words = {"vocab_size": last + 1, "bos_token_id": last - 1, "eos_token_id": last, "pad_token_id": last}
    CLIPTextModel(CLIPTextConfig(**QUARTER_TEXT, **words)).save_pretrained(folder / "text_encoder")
    return folder


def memory_of(name: str, options: argparse.Namespace) -> float:
    """Peak resident memory of a few steps, in MB, in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", name, "--model", options.model]
    command += ["--pictures", str(options.pictures), "--batch-size", str(options.batch_size)]
    command += ["--dtype", options.dtype]
    return float(json.loads(subprocess.check_output(command, text=True).splitlines()[-1]))


def peak_memory(options: argparse.Namespace) -> float:
    """Of this process, after three steps; Linux tells it."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = write_pictures(Path(folder) / "pictures", options.pictures)
        pipe = mezzotint.load(options.model, dtype=getattr(torch, options.dtype))
        with Stepping(EVERY_LOOP[options.memory_of](pipe, pictures, options.batch_size)) as step:
            for _ in range(3):
                step()
    # Not getrusage: that counts what the process was before it became this program, which is as large as its parent.
    return next(
        int(line.split()[1]) / 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )


LOOPS: dict[str, Callable[[Pipeline, Path, int], Iterator[None]]] = {
    "ours, cached": lambda *arguments: ours(*arguments, cache="memory"),
    "ours, not cached": lambda *arguments: ours(*arguments, cache="off"),
    "diffusers": diffusers_loop,
    "peft alone": peft_alone,
}
EVERY_LOOP = LOOPS | {
    "ours, compiled": lambda *arguments: ours(*arguments, cache="memory", compiles=True),
    "diffusers, compiled": lambda *arguments: diffusers_loop(*arguments, compiles=True),
}

if __name__ == "__main__":
    main()
