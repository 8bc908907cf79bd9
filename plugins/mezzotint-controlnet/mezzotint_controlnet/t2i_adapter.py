"""T2I-Adapter: a small network that sees the control picture once, and adds to the encoder at every step.

Mou et al. 2023, "T2I-Adapter: learning adapters to dig out more controllable ability".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from mezzotint import Field, Residuals, hookimpl
from mezzotint.errors import ModelError, RequestError

from .controlnet import Rows
from .image_control import ImageControl, to_tensor
from .modes import AdapterMode, adapter_soft_weights, controlled_passes, only_with_prompt
from .networks import load_network
from .region import masked

if TYPE_CHECKING:
    from mezzotint import Pipeline, Run
    from torch import Tensor


@dataclass(eq=False)
class Prepared:
    """An adapter with one run's pictures; it is called when its first step comes, if one does."""

    make: Callable[[], tuple[Tensor, ...]]

    @cached_property
    def features(self) -> tuple[Tensor, ...]:
        """Weighted and masked, one for each stage, (1 or n, c, h, w)."""
        return self.make()


class T2IAdapter(ImageControl, name="t2i-adapter"):
    """Let a picture (sketch, depth, colours) guide the composition, at the cost of one small network a run."""

    mode: AdapterMode = Field("balanced", description="what counts more, prompt or control (as the web UI)")
    layer_weights: list[float] | None = Field(
        None, description="factor for each feature, instead of the mode's own"
    )

    @hookimpl
    def timesteps(self, run: Run) -> None:
        """Nothing about the interval: the last place before the first step, where everything is checked."""
        run.state(self, partial(self._prepare, run))

    @hookimpl
    def unet_residuals(self, run: Run) -> Residuals | None:
        """The adapter's features, the same at every step."""
        if not self.acts(run):
            return None
        features = run.state(self, partial(self._prepare, run)).features
        rows = Rows(controlled_passes(run.passes, only_with_prompt(self.mode)), len(run.passes), run.n)
        return Residuals(adapter=tuple(_spread(tensor, rows) for tensor in features))

    def _prepare(self, run: Run) -> Prepared:
        adapter = load_network(run.pipe, self.model, "T2IAdapter", partial(check_adapter, pipe=run.pipe))
        maps = self.control_maps(run, self.image)
        run.publish(self, maps=maps)
        self._check_size(adapter, run)
        stages = len(stages_of(adapter))
        if self.layer_weights is not None and len(self.layer_weights) != stages:
            raise RequestError(
                f"{self.extension_name}: layer_weights has {len(self.layer_weights)} factors; "
                f"this adapter has {stages} features"
            )
        hint, region = to_tensor(maps, adapter.config.in_channels, run), self.region(run)
        return Prepared(lambda: self._weighted(adapter(hint), region))

    def _weighted(self, features: list[Tensor], mask: Tensor | None) -> tuple[Tensor, ...]:
        weights = [1.0] * len(features)
        if self.layer_weights is not None:
            weights = self.layer_weights
        elif self.mode != "balanced":
            weights = list(adapter_soft_weights(len(features)))
        return tuple(
            masked(tensor * (self.scale * weight), mask)
            for tensor, weight in zip(features, weights, strict=True)
        )

    def _check_size(self, adapter: Any, run: Run) -> None:
        factor = adapter.downscale_factor
        if any(side % factor for side in run.request.size):
            raise RequestError(
                f"{self.extension_name}: {self.model} takes pictures whose sides are multiples of {factor}, "
                f"and this run's are {'x'.join(map(str, run.request.size))}"
            )


def check_adapter(adapter: Any, where: str, pipe: Pipeline) -> Any:
    """Check an adapter against the pipeline's U-Net.

    Raises:
        ModelError: its channels are those of another U-Net.
    """
    theirs, ours = stages_of(adapter), tuple(pipe.unet.config.block_out_channels)
    # The adapters of SDXL have a feature more, for the middle block.
    if theirs not in (ours, (*ours, ours[-1])):
        raise ModelError(
            f"{where} is for another U-Net: its features have {theirs} channels, this U-Net's blocks {ours}"
        )
    return adapter


def stages_of(adapter: Any) -> tuple[int, ...]:
    """Channels of its features."""
    channels = tuple(adapter.config.channels)
    return (*channels, channels[-1]) if adapter.config.adapter_type == "light_adapter" else channels


def _spread(tensor: Tensor, rows: Rows) -> Tensor:
    """For all rows of the batch: one map broadcasts, several are repeated for each pass."""
    if rows.all and len(tensor) == 1:
        return tensor
    if len(tensor) == 1:
        tensor = tensor.expand(rows.n, -1, -1, -1)
    return rows.put(tensor.repeat(len(rows.chosen), 1, 1, 1))
