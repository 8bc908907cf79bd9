"""How far schedulers are from where they converge, at what cost: the numbers behind `schedulers compare`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class Comparison:
    """One scheduler with one number of steps."""

    scheduler: str
    spacing: str
    steps: int
    evaluations: int
    """Model evaluations of the run."""
    seconds: float
    distance: float | None
    """Root mean square distance of the latents from those of the same scheduler with many steps, over the
    standard deviation of those; none for stochastic schedulers, whose runs have no common limit."""
    image: Image


def compare(
    pipe: Any,
    prompt: str,
    schedulers: Sequence[str],
    steps: Sequence[int],
    *,
    spacing: str | None,
    seed: int,
    limit_steps: int,
    guidance: float | None = None,
) -> Iterator[Comparison]:
    """Run every scheduler with every number of steps from the same noise.

    Args:
        pipe: what `mezzotint.load` returns.
        limit_steps: steps of the run that stands for the limit.

    Raises:
        MezzotintError: as a run of the pipeline.
    """
    for scheduler in schedulers:
        common = {"scheduler": scheduler, "spacing": spacing, "seed": seed, "guidance": guidance}
        limit = None
        if _has_a_limit(pipe, scheduler):
            limit = pipe(prompt, steps=limit_steps, **common).latents.float()
        for count in steps:
            turns: list[object] = []
            result = pipe(prompt, steps=count, on_step=turns.append, **common)
            distance = None
            if limit is not None:
                distance = float((result.latents.float() - limit).square().mean().sqrt() / limit.std())
            yield Comparison(
                scheduler, spacing or "", count, len(turns), result.seconds, distance, result.images[0]
            )


def _has_a_limit(pipe: Any, scheduler: str) -> bool:
    """Whether a run adds no noise: only then do more steps lead to one and the same image."""
    known = pipe.registry.schedulers
    return scheduler in known and not getattr(known[scheduler], "stochastic", True)


def sheet(comparisons: Sequence[Comparison]) -> Image:
    """One picture: a row for each scheduler, a column for each number of steps, with captions."""
    from PIL import Image, ImageDraw

    rows = list(dict.fromkeys(each.scheduler for each in comparisons))
    columns = list(dict.fromkeys(each.steps for each in comparisons))
    width = max(max(each.image.width for each in comparisons), 96)
    height = max(each.image.height for each in comparisons)
    caption, gap = 14, 6
    size = (len(columns) * (width + gap), len(rows) * (height + caption + gap))
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    for each in comparisons:
        left = columns.index(each.steps) * (width + gap)
        top = rows.index(each.scheduler) * (height + caption + gap)
        draw.text((left + 2, top + 1), f"{each.scheduler} {each.steps}", fill="black")
        page.paste(each.image, (left, top + caption))
    return page
