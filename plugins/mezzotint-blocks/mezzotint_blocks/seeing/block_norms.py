"""How large the features of each block are, step by step."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mezzotint import Block, Extension, Field, Run, TextFile, hookimpl

from ..several import Several

if TYPE_CHECKING:
    from torch import Tensor

COLUMNS = ("step", "timestep", "block", "pass", "rms", "mean", "largest")


class BlockNorms(Extension, name="block-norms"):
    """Size of what leaves each block of the U-Net, for each step and pass.

    Publishes `rows`, dictionaries with the step, timestep, block and pass, and of the features of all images their
    root mean square, mean and largest absolute value; and the same as `table` (.csv).
    """

    blocks: Several = Field(("down.*", "mid", "up.*"), description="blocks, such as up.*.resnets.*")

    @hookimpl(at=lambda self: self.blocks)
    def unet_block_output(self, block: Block, hidden_states: Tensor, run: Run) -> None:
        """Keep three numbers for each pass; they stay on the device until the run is over."""
        import torch

        names = [pass_.name for pass_ in run.passes]
        values = hidden_states.float().reshape(len(names), -1)
        numbers = torch.stack([values.square().mean(1).sqrt(), values.mean(1), values.abs().amax(1)])
        step = run.step
        run.state(self, list).append((step.index, float(step.timestep), block.name, names, numbers))  # type: ignore[union-attr]

    @hookimpl
    def latents(self, run: Run) -> None:
        """Publish them."""
        rows = [
            dict(zip(COLUMNS, (step, timestep, block, name, *of_pass), strict=True))
            for step, timestep, block, names, numbers in run.state(self, list)
            for name, of_pass in zip(names, numbers.T.tolist(), strict=True)
        ]
        run.publish(self, rows=rows, table=TextFile(".csv", comma_separated(rows)))


def comma_separated(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as text, numbers with six digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(
        [f"{value:.6g}" if isinstance(value, float) else value for value in row.values()] for row in rows
    )
    return text.getvalue()
