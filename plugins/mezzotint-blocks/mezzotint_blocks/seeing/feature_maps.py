"""What the features of a block look like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mezzotint import Block, Extension, Field, Run, hookimpl
from mezzotint.errors import RequestError

from ..several import Several

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

Features = Mapping[str, Mapping[int, "Tensor"]]
TILE, GAP = 128, 4
"""Pixels of one block at one step, and between two."""
MARGIN = 24


class FeatureMaps(Extension, name="feature-maps"):
    """The features of chosen blocks at chosen steps, and what they look like.

    Publishes `features`, block → step → tensor (n, c, h, w) of the positive pass on the CPU, and `sheets`, for each
    image the three principal components of each block's features as red, green and blue (Tumanyan et al. 2023).
    """

    blocks: Several = Field(("down.*", "mid", "up.*"), description="blocks, such as up.*.resnets.*")
    steps: tuple[int, ...] = Field(
        (), description="numbers of steps, from 0; default: first, middle and last"
    )

    @hookimpl
    def step_begin(self, run: Run) -> None:
        """Refuse at the first step those that do not come."""
        last = run.step.count - 1  # type: ignore[union-attr]
        beyond = [step for step in self.steps if not 0 <= step <= last]
        if beyond:
            raise RequestError(f"feature-maps: there is no step {beyond[0]}; the steps are 0 to {last}")

    @hookimpl(at=lambda self: self.blocks)
    def unet_block_output(self, block: Block, hidden_states: Tensor, run: Run) -> None:
        """Keep the positive rows at the chosen steps."""
        step = run.step
        chosen = self.steps or (0, step.count // 2, step.count - 1)  # type: ignore[union-attr]
        if step.index in chosen and any(pass_.name == "positive" for pass_ in run.passes):  # type: ignore[union-attr]
            features = run.state(self, dict)
            kept = hidden_states[run.rows("positive")].float().cpu().clone()
            features.setdefault(block.name, {})[step.index] = kept  # type: ignore[union-attr]

    @hookimpl
    def images(self, run: Run) -> None:
        """Publish features and sheets."""
        features = run.state(self, dict)
        run.publish(self, features=features, sheets=[sheet(features, image) for image in range(run.n)])


def sheet(features: Features, image: int) -> Image | None:
    """One row a block, one column a step; `None` for nothing."""
    from PIL import Image as Images
    from PIL import ImageDraw, ImageFont

    if not features:
        return None
    steps = sorted({step for of_block in features.values() for step in of_block})
    font = ImageFont.load_default(14)
    left = MARGIN + int(max(font.getlength(name) for name in features))
    page = Images.new("RGB", (left + len(steps) * TILE, MARGIN + len(features) * TILE), "white")
    draw = ImageDraw.Draw(page)
    for column, step in enumerate(steps):
        place = (left + (column + 0.5) * TILE, MARGIN / 2)
        draw.text(place, f"step {step}", fill="black", font=font, anchor="mm")
    for row, (block, of_block) in enumerate(features.items()):
        draw.text((8, MARGIN + (row + 0.5) * TILE), block, fill="black", font=font, anchor="lm")
        pictures = principal_components({step: tensor[image] for step, tensor in of_block.items()})
        for step, picture in pictures.items():
            tile = picture.resize((TILE - GAP, TILE - GAP), Images.Resampling.NEAREST)
            page.paste(tile, (left + steps.index(step) * TILE, MARGIN + row * TILE))
    return page


def principal_components(features: Mapping[int, Tensor]) -> dict[int, Image]:
    """Features (c, h, w) of one block at several steps as pictures, in components that the steps share."""
    import torch
    from PIL import Image as Images

    flat = {step: tensor.flatten(1).T for step, tensor in features.items()}
    together = torch.cat(list(flat.values()))
    mean = together.mean(0)
    axes = torch.linalg.svd(together - mean, full_matrices=False).Vh[:3]
    # A component's sign is arbitrary: its largest weight is made positive, so that a picture stays the same.
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    scores = {step: (tensor - mean) @ axes.T for step, tensor in flat.items()}
    spread = torch.cat(list(scores.values())).std(0).clamp_min(1e-12)
    pictures = {}
    for step, score in scores.items():
        _, h, w = features[step].shape
        values = ((score / spread / 4 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
        colours = torch.zeros(h * w, 3, dtype=torch.uint8)
        colours[:, : values.shape[1]] = values
        pictures[step] = Images.fromarray(colours.view(h, w, 3).numpy())
    return pictures
