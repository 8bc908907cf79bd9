"""Many prompts to pictures, kept by what they were drawn from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from mezzotint import Pipeline
from mezzotint_lora import LoRA
from rich.console import Console
from rich.progress import track

AT_ONCE = 16


def draw(
    pipe: Pipeline,
    prompts: Sequence[str],
    kept: Path,
    title: str,
    *,
    lora: Path | None = None,
    weight: float = 1.0,
    seed: int = 0,
) -> np.ndarray:
    """One picture a prompt, (n, height, width, 3) uint8; picture k has the same noise whatever the LoRA and weight.

    Args:
        kept: folder of what was drawn before, by model, LoRA, weight and prompts.
        title: beside the progress bar.
        seed: of the first picture; the next has the next.
    """
    path = kept / f"{_digest(pipe, prompts, lora, weight, seed)}.npy"
    if path.exists():
        return np.load(path)
    images: list[np.ndarray] = []
    with nullcontext() if lora is None else pipe.using(LoRA(lora, weight=weight)):
        firsts = range(0, len(prompts), AT_ONCE)
        for first in track(firsts, title, console=Console(stderr=True)):
            drawn = pipe(prompts[first : first + AT_ONCE], seed=seed + first).images
            images += [np.asarray(image.convert("RGB")) for image in drawn]
    kept.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npy")
    np.save(part, np.stack(images))
    part.replace(path)
    return np.stack(images)


def _digest(pipe: Pipeline, prompts: Sequence[str], lora: Path | None, weight: float, seed: int) -> str:
    file = None if lora is None else hashlib.sha256(lora.read_bytes()).hexdigest()
    facts = (pipe.fingerprint, file, None if lora is None else weight, list(prompts), seed)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
