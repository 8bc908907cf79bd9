"""Sheets of samples, to see how the training goes."""

import textwrap
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont
from torch.utils.tensorboard import SummaryWriter

from .captions import full_caption
from .checkpoint import state_file, training_folder
from .data import load
from .layouts import is_drawn_often
from .trained import load_pipeline

PROMPTS = (
    "3d render of dog face",
    "3d render of ghost",
    "3d render of pizza",
    "3d render of rocket",
    "3d render of an octopus",
    "3d render of grinning face",
    "3d render of a red apple",
    "3d render of a mushroom",
    "flat icon of bus",
    "flat icon of cat face",
    "flat icon of strawberry",
    "glossy icon of a guitar",
    "cartoon emoji of cactus",
    "cartoon emoji of house",
    "retro emoji of ghost",
    "glossy icon of whale",
    "penguin",
    "red heart",
    "hot beverage",
    "an owl",
    "3d render of a puppy",
    "a burger",
    "a bunny, pink background",
    "flat icon of a sailboat, light blue background",
    "3d render of a small crab, yellow background",
    "large pumpkin, black background",
    "3d render of a cat on a chair",
    "flat icon of a dog left of a car",
    "3d render of a banana right of an apple",
    "a robot above a pizza, light green background",
    "cartoon emoji of a bird in front of a house",
    "3d render of a ghost and a guitar, purple background",
)
HELD_OUT_PAIRS = 8


def sample(
    pipe: StableDiffusionPipeline, prompts: list[str], steps: int = 25, guidance: float = 4.0, seed: int = 7
) -> list[Image.Image]:
    """One picture a prompt, each with the noise that it has alone."""
    generators = [torch.Generator().manual_seed(seed) for _ in prompts]
    return pipe(prompts, num_inference_steps=steps, guidance_scale=guidance, generator=generators).images


def grid(images: list[Image.Image], columns: int = 8) -> Image.Image:
    """The images in rows, on white."""
    width, height = images[0].size
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for i, image in enumerate(images):
        sheet.paste(image, (i % columns * width, i // columns * height))
    return sheet


def captioned(images: list[Image.Image], prompts: list[str], columns: int = 8) -> Image.Image:
    """The images in rows, twice as large, each over its prompt, on white."""
    width, height = 2 * images[0].width, 2 * images[0].height
    font, line = ImageFont.load_default(11), 13
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * width, rows * (height + 3 * line)), "white")
    canvas = ImageDraw.Draw(sheet)
    for i, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
        x, y = i % columns * width, i // columns * (height + 3 * line)
        sheet.paste(image.resize((width, height), Image.Resampling.BICUBIC), (x, y))
        for k, text in enumerate(textwrap.wrap(prompt, 22)[:2]):
            canvas.text((x + width / 2, y + height + k * line), text, "black", font, anchor="ma")
    return sheet


def sheet_prompts(work: Path) -> list[str]:
    """The fixed prompts, and a few pairs of concept and style that were held out."""
    pairs = load(work).split("pair").pictures
    return [
        *PROMPTS,
        *(full_caption(pair) for pair in pairs[:: len(pairs) // HELD_OUT_PAIRS][:HELD_OUT_PAIRS]),
    ]


def write_sheet(work: Path, path: Path, pairs: int = 0, **options: float) -> Image.Image:
    """Draw all prompts of the sheet with the last checkpoints; returns what is written.

    With `pairs`, draw so many random held-out pairs instead, each over its prompt, for a person to count which can be
    named.
    """
    prompts = random_pairs(work, pairs) if pairs else sheet_prompts(work)
    images = sample(load_pipeline(work), prompts, **options)
    sheet = captioned(images, prompts) if pairs else grid(images)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    return sheet


def random_pairs(work: Path, count: int, seed: int = 0) -> list[str]:
    """Captions of held-out pairs of concept and style, the same each time."""
    pairs = load(work).where(lambda picture: picture.split == "pair" and is_drawn_often(picture)).pictures
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:count]
    return [full_caption(pairs[i]) for i in sorted(chosen)]


class SheetEvery:
    """Called after each checkpoint: draws a sheet when `seconds` have passed, into `sheets/` and for TensorBoard.

    Draws none before there is a decoder.
    """

    def __init__(self, work: Path, seconds: float) -> None:
        self.work, self.seconds, self.written = work, seconds, time.monotonic()

    def __call__(self, step: int) -> None:
        if not state_file(training_folder(self.work, "decoder")).exists():
            return
        if time.monotonic() - self.written >= self.seconds:
            sheet = write_sheet(self.work, self.work / "sheets" / f"step-{step:06d}.png")
            with SummaryWriter(training_folder(self.work, "unet") / "log") as writer:
                writer.add_image("sheet", np.asarray(sheet), step, dataformats="HWC")
            self.written = time.monotonic()
