"""The work of `mezzotint generate`: runs one after the other, each image saved as soon as it is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output_names import OutputNames, save_under_free_name
from .published_files import save_published

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..pipeline.pipeline import Pipeline
    from ..plugins.extension import Extension
    from .display import Display


@dataclass(frozen=True)
class Job:
    """One run of the pipeline: `n` images of a prompt, seeds `seed`, `seed + 1`, …"""

    prompt: str
    seed: int
    n: int
    number: int
    """Of its first image, from 1."""


@dataclass(frozen=True, eq=False)
class Saved:
    """An image in its file."""

    path: Path
    prompt: str
    seed: int
    beside: tuple[Path, ...] = ()
    """What extensions published with it: attention maps, tables."""


def make_jobs(prompts: Sequence[str], n: int, seed: int, batch_size: int) -> list[Job]:
    """Split `n` images of each prompt into runs of at most `batch_size`; image k has `seed + k`."""
    return [
        Job(prompt, seed + row * n + first, min(batch_size, n - first), row * n + first + 1)
        for row, prompt in enumerate(prompts)
        for first in range(0, n, batch_size)
    ]


def make_images(
    pipe: Pipeline,
    jobs: Sequence[Job],
    arguments: Mapping[str, Any],
    extensions: Sequence[Extension],
    names: OutputNames,
    display: Display,
) -> Iterator[tuple[Saved, Image]]:
    """Run every job and yield each image once it is saved.

    Args:
        arguments: of the pipeline's call, the same for all jobs.
    """
    total = jobs[-1].number + jobs[-1].n - 1
    # Several runs share what it costs to attach the extensions.
    keep = pipe.using(*extensions) if extensions and len(jobs) > 1 else nullcontext()
    use = () if len(jobs) > 1 else tuple(extensions)
    with keep:
        for job in jobs:
            display.start_run(_label(job, total))
            result = pipe(job.prompt, seed=job.seed, n=job.n, use=use, on_step=display.step, **arguments)
            for index, image in enumerate(result.images):
                seed = job.seed + index
                path = names.path(
                    prompt=job.prompt, seed=seed, number=job.number + index, model=pipe.source.name
                )
                path = save_under_free_name(image, result.recipe_of(index), path)
                beside = save_published(result.outputs, index, len(result.images), path)
                yield Saved(path, job.prompt, seed, tuple(beside)), image
            display.end_run()


def _label(job: Job, total: int) -> str:
    if job.n == 1:
        return f"image {job.number} of {total}"
    return f"images {job.number} to {job.number + job.n - 1} of {total}"
