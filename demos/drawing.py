"""Many prompts to pictures, kept by what they were drawn from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mezzotint import Extension, Pipeline
from mezzotint_controlnet import ControlNet
from mezzotint_lora import LoRA
from rich.console import Console
from rich.progress import track

AT_ONCE = 16


@dataclass(frozen=True)
class Use:
    """What pictures are drawn with: `of(part)` makes it for that part of the prompts, `facts` say what it is."""

    of: Callable[[slice], list[Extension]]
    facts: tuple[Any, ...]


PLAIN = Use(lambda part: [], ())


def with_lora(file: Path, weight: float = 1.0) -> Use:
    """A LoRA on every picture."""
    return Use(lambda part: [LoRA(file, weight=weight)], (_sha256(file.read_bytes()), weight))


def with_control(network: Path, maps: Sequence[np.ndarray], scale: float = 1.0) -> Use:
    """A ControlNet, a diffusers folder, with a control map (height, width, 3) of its own for each picture."""
    files = [_sha256(path.read_bytes()) for path in sorted(network.iterdir())]
    shown = _sha256(np.stack(maps).tobytes())
    return Use(lambda part: [ControlNet(network, list(maps[part]), scale)], (*files, shown, scale))


def draw(
    pipe: Pipeline,
    prompts: Sequence[str],
    kept: Path,
    title: str,
    *,
    use: Use = PLAIN,
    seed: int = 0,
) -> np.ndarray:
    """One picture a prompt, (n, height, width, 3) uint8; picture k has the same noise whatever is used.

    Args:
        kept: folder of what was drawn before, by model, prompts and what is used.
        title: beside the progress bar.
        seed: of the first picture; the next has the next.
    """
    path = kept / f"{_digest(pipe, prompts, use, seed)}.npy"
    if path.exists():
        return np.load(path)
    images: list[np.ndarray] = []
    for first in track(range(0, len(prompts), AT_ONCE), title, console=Console(stderr=True)):
        part = slice(first, first + AT_ONCE)
        drawn = pipe(prompts[part], seed=seed + first, use=use.of(part)).images
        images += [np.asarray(image.convert("RGB")) for image in drawn]
    kept.mkdir(parents=True, exist_ok=True)
    part_file = path.with_suffix(".part.npy")
    np.save(part_file, np.stack(images))
    part_file.replace(path)
    return np.stack(images)


def _digest(pipe: Pipeline, prompts: Sequence[str], use: Use, seed: int) -> str:
    facts = (pipe.fingerprint, use.facts, list(prompts), seed)
    return _sha256(json.dumps(facts).encode())[:16]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
