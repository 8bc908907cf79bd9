"""ControlNet: a copy of the U-Net's encoder that sees a control picture and adds to every skip connection.

Zhang, Rao & Agrawala 2023, "Adding conditional control to text-to-image diffusion models".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from mezzotint import Conditioning, Field, Residuals, hookimpl
from mezzotint.errors import ModelError, RequestError

from .image_control import ImageControl, to_tensor
from .modes import Mode, controlled_passes, only_with_prompt, soft_weights
from .networks import load_network
from .networks.families import check_same_shape
from .region import masked

if TYPE_CHECKING:
    from mezzotint import Pipeline, Run
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class SplitControlNet:
    """A ControlNet, with the embedding of its picture apart: that is the same at every step."""

    network: Any
    """diffusers' model, whose picture embedding is the identity."""
    embed: Callable[[Tensor], Tensor]
    """Embeds the picture, (rows, c, height, width) to the size of latents."""
    pools: bool
    """Whether residuals are averaged over the picture (`global_pool_conditions`: shuffle)."""
    channels: int
    """Of the control picture."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """One ControlNet in one run."""

    controlnet: SplitControlNet
    pictures: tuple[Tensor, ...]
    """The control picture, (1 or n, c, height, width); ControlNet-Union has several."""
    mask: Tensor | None
    _embedded: dict[int, tuple[Tensor, ...]] = field(default_factory=dict)

    def hints(self, passes: int, n: int) -> tuple[Tensor, ...]:
        """The pictures embedded, (passes * n, c, h, w): once a run, not once a step.

        As a batch of that many rows, since torch takes another convolution for one row than for several,
        and the last bit differs.
        """
        if passes * n not in self._embedded:
            self._embedded[passes * n] = tuple(
                self.controlnet.embed(for_rows(picture, passes, n)) for picture in self.pictures
            )
        return self._embedded[passes * n]


class ControlNet(ImageControl, name="controlnet"):
    """Let a picture (edges, depth, a pose) guide the composition."""

    mode: Mode = Field(
        "balanced", description="what counts more, prompt or control (as the web UI), or guess (as diffusers)"
    )
    layer_weights: list[float] | None = Field(
        None, description="factor for each residual, the middle block's last, instead of the mode's own"
    )

    @hookimpl
    def timesteps(self, run: Run) -> None:
        """Nothing about the interval: the last place before the first step, where everything is checked."""
        run.state(self, partial(self._prepare, run))

    @hookimpl
    def unet_residuals(
        self, sample: Tensor, timestep: Tensor, conditioning: Conditioning, run: Run
    ) -> Residuals | None:
        """The network's residuals for the passes that it controls, zeros for the others."""
        if not self.acts(run):
            return None
        prepared = run.state(self, partial(self._prepare, run))
        chosen = controlled_passes(run.passes, only_with_prompt(self.mode, prepared.controlnet.pools))
        rows = Rows(chosen, len(run.passes), run.n)
        computed = self._call(
            prepared, rows.take(sample), timestep, rows.take_conditioning(conditioning), rows
        )
        return self._residuals(computed, prepared, rows)

    def _prepare(self, run: Run) -> Prepared:
        controlnet = load_network(
            run.pipe, self.model, "ControlNetModel", partial(split_controlnet, pipe=run.pipe)
        )
        self._check_layer_weights(controlnet)
        maps = self.control_maps(run, self.image)
        run.publish(self, maps=maps)
        return Prepared(controlnet, (to_tensor(maps, controlnet.channels, run),), self.region(run))

    def _call(
        self, prepared: Prepared, sample: Tensor, timestep: Tensor, conditioning: Conditioning, rows: Rows
    ) -> list[Tensor]:
        controlnet = prepared.controlnet
        (hint,) = prepared.hints(len(rows.chosen), rows.n)
        scale, guess = self._inside(controlnet)
        down, mid = controlnet.network(
            sample,
            timestep,
            encoder_hidden_states=conditioning.embeddings,
            controlnet_cond=hint,
            conditioning_scale=scale,
            guess_mode=guess,
            added_cond_kwargs=dict(conditioning.added) or None,
            return_dict=False,
        )
        return [*down, mid]

    def _inside(self, controlnet: SplitControlNet) -> tuple[float, bool]:
        """`conditioning_scale` and `guess_mode` of the network's own call."""
        guess = self.mode == "guess" and not controlnet.pools and self.layer_weights is None
        return 1.0 if self._weights(2) else float(self.scale), guess

    def _weights(self, count: int) -> Sequence[float]:
        """Factors of the residuals where they differ; none where the network's own scale is enough."""
        if self.layer_weights is not None:
            return [self.scale * weight for weight in self.layer_weights]
        if self.mode in ("prompt", "control"):
            return [self.scale * weight for weight in soft_weights(count)]
        return ()

    def _residuals(self, computed: list[Tensor], prepared: Prepared, rows: Rows) -> Residuals:
        weights = self._weights(len(computed))
        if weights:
            computed = [tensor * weight for tensor, weight in zip(computed, weights, strict=True)]
        if prepared.controlnet.pools:
            computed = [tensor.mean(dim=(2, 3), keepdim=True).expand_as(tensor) for tensor in computed]
        down = tuple(rows.put(masked(tensor, prepared.mask)) for tensor in computed)
        return Residuals(down=down[:-1], mid=down[-1])

    def _check_layer_weights(self, controlnet: SplitControlNet) -> None:
        count = len(controlnet.network.controlnet_down_blocks) + 1
        if self.layer_weights is not None and len(self.layer_weights) != count:
            raise RequestError(
                f"{self.extension_name}: layer_weights has {len(self.layer_weights)} factors; this network has "
                f"{count} residuals, {count - 1} and the middle block's"
            )


@dataclass(frozen=True)
class Rows:
    """Which rows of a step's batch a network sees: those of some passes, n rows each."""

    chosen: Sequence[int]
    """Positions of the passes."""
    passes: int
    n: int

    @property
    def all(self) -> bool:
        """Whether it is the whole batch."""
        return len(self.chosen) == self.passes

    def take(self, batch: Tensor) -> Tensor:
        """The rows of the chosen passes."""
        if self.all:
            return batch
        import torch

        return torch.cat([batch[i * self.n : (i + 1) * self.n] for i in self.chosen])

    def take_conditioning(self, conditioning: Conditioning) -> Conditioning:
        """The same of embeddings, masks and added conditions."""
        if self.all:
            return conditioning
        mask = conditioning.attention_mask
        added: Mapping[str, Tensor] = {name: self.take(tensor) for name, tensor in conditioning.added.items()}
        return Conditioning(
            self.take(conditioning.embeddings), None if mask is None else self.take(mask), added
        )

    def put(self, residual: Tensor) -> Tensor:
        """The residual at its rows of the whole batch, zeros at the others."""
        if self.all:
            return residual
        whole = residual.new_zeros((self.passes * self.n, *residual.shape[1:]))
        for position, i in enumerate(self.chosen):
            whole[i * self.n : (i + 1) * self.n] = residual[position * self.n : (position + 1) * self.n]
        return whole


def check_controlnet(network: Any, where: str, pipe: Pipeline) -> Any:
    """Check a `ControlNetModel` against the pipeline's U-Net.

    Raises:
        ModelError: it belongs to another U-Net.
    """
    check_same_shape(where, network.config, pipe.unet.config)
    latents = pipe.unet.config.out_channels
    if network.config.in_channels != latents:
        raise ModelError(
            f"{where} is for another U-Net: it takes latents of {network.config.in_channels} channels, this model has "
            f"{latents}"
        )
    check_shrinking(where, network.controlnet_cond_embedding, pipe)
    return network


def split_controlnet(network: Any, where: str, pipe: Pipeline) -> SplitControlNet:
    """Check a `ControlNetModel` and take its picture embedding apart.

    Raises:
        ModelError: it belongs to another U-Net.
    """
    from torch.nn import Identity

    config = check_controlnet(network, where, pipe).config
    embed, network.controlnet_cond_embedding = network.controlnet_cond_embedding, Identity()
    pools = bool(config.global_pool_conditions)
    bgr = getattr(config, "controlnet_conditioning_channel_order", "rgb") == "bgr"
    # Both are done here instead: the average has to cover the residual again, and the picture is embedded.
    network.register_to_config(global_pool_conditions=False, controlnet_conditioning_channel_order="rgb")
    return SplitControlNet(
        network,
        (lambda picture: embed(picture.flip(1))) if bgr else embed,
        pools,
        config.conditioning_channels,
    )


def for_rows(picture: Tensor, passes: int, n: int) -> Tensor:
    """One picture for every row, or n of them for each pass."""
    return picture.repeat(passes if len(picture) > 1 else passes * n, 1, 1, 1)


def check_shrinking(where: str, embed: Any, pipe: Pipeline) -> None:
    """The embedding must shrink the picture to the latents' size."""
    strides = 1
    for block in embed.blocks:
        strides *= block.stride[0]
    if strides != pipe.vae_scale_factor:
        raise ModelError(
            f"{where} is for another model: it makes the control picture {strides} times smaller, "
            f"and this model's latents are {pipe.vae_scale_factor} times smaller than its pictures"
        )
