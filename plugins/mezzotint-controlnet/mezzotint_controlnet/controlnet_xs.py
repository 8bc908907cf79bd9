"""ControlNet-XS: a thin network beside the U-Net that reads from and adds to each of its layers.

Zavadski, Feiden & Rother 2023, "ControlNet-XS: designing an efficient and effective architecture". Unlike a
ControlNet it sees the U-Net's own features, so it runs with the U-Net, layer by layer, through the block hooks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from mezzotint import Block, Conditioning, hookimpl
from mezzotint.errors import ModelError

from .controlnet import check_shrinking, for_rows
from .image_control import ImageControl, to_tensor
from .networks import load_network
from .networks.families import check_same_shape
from .region import masked

if TYPE_CHECKING:
    from mezzotint import Pipeline, Run
    from torch import Tensor


@dataclass(eq=False)
class Walk:
    """A ControlNet-XS on its way through one run."""

    network: Any
    picture: Tensor
    """(1 or n, c, height, width)."""
    mask: Tensor | None
    hint: Tensor | None = None
    """The picture embedded for every row."""
    acts: bool = False
    """Whether this step is controlled."""
    conditioning: Conditioning | None = None
    sample: Tensor | None = None
    added: Tensor | None = None
    """What the U-Net adds to its time embedding for added conditions."""
    time: Tensor | None = None
    hidden: Tensor | None = None
    """The control branch's own features after the layer before."""
    skips: list[Tensor] = field(default_factory=list)
    """The control branch's skip connections, the last first to be used."""


class ControlNetXS(ImageControl, name="controlnet-xs"):
    """Guide with a small network that reads the U-Net's features and writes to them."""

    @hookimpl
    def timesteps(self, run: Run) -> None:
        """Nothing about the interval: the last place before the first step, where everything is checked."""
        run.state(self, partial(self._prepare, run))

    @hookimpl
    def unet_residuals(self, sample: Tensor, conditioning: Conditioning, run: Run) -> None:
        """Begin a step."""
        walk = self._walk(run)
        walk.acts = self.acts(run)
        if walk.acts:
            walk.sample, walk.conditioning, walk.skips = sample, conditioning, []
            if walk.hint is None or len(walk.hint) != len(sample):
                picture = for_rows(walk.picture, len(run.passes), run.n)
                walk.hint = walk.network.controlnet_cond_embedding(picture)
            walk.added = _added_conditions(run.pipe.unet, conditioning, sample.dtype)

    @hookimpl
    def time_embedding(self, emb: Tensor, timestep: Tensor, run: Run) -> Tensor | None:
        """Mix in the network's own time embedding, if it learned one."""
        walk = self._walk(run)
        if not walk.acts:
            return None
        config = walk.network.config
        if config.learn_time_embedding:
            positions = run.pipe.unet.time_proj(timestep.reshape(1).expand(len(emb))).to(emb.dtype)
            share = config.time_embedding_mix**0.3
            emb = walk.network.time_embedding(positions) * share + emb * (1 - share)
        walk.time = emb if walk.added is None else emb + walk.added
        return emb

    @hookimpl(at=("down.*", "down.*.resnets.*", "down.*.downsamplers.*", "mid", "up.*.resnets.*"))
    def unet_block_input(
        self, block: Block, hidden_states: Tensor, skips: tuple[Tensor, ...], run: Run
    ) -> Tensor | tuple[Tensor, tuple[Tensor, ...]] | None:
        """Read the U-Net's features; in the decoder, write to them."""
        walk = self._walk(run)
        if not walk.acts:
            return None
        network = walk.network
        if block.name == "down.0":
            walk.hidden = network.conv_in(walk.sample) + walk.hint
            walk.skips.append(walk.hidden)
            return hidden_states + self._write(network.control_to_base_for_conv_in, walk.hidden, walk)
        if block.name == "mid":
            walk.hidden = _read(walk.hidden, network.mid_block.base_to_ctrl, hidden_states)
        elif block.stage == "down" and block.kind in ("resnet", "sampler"):
            part = network.down_blocks[block.index]
            walk.hidden = _read(walk.hidden, part.base_to_ctrl[_layer(block, part)], hidden_states)
        elif block.stage == "up" and block.kind == "resnet":
            return self._decode(block, hidden_states, skips, walk)
        return None

    @hookimpl(at=("down.*.resnets.*", "down.*.attentions.*", "down.*.downsamplers.*", "mid"))
    def unet_block_output(self, block: Block, hidden_states: Tensor, run: Run) -> Tensor | None:
        """Run the layer of the control branch, and write to the U-Net's features."""
        walk = self._walk(run)
        if not walk.acts:
            return None
        network = walk.network
        if block.name == "mid":
            walk.hidden = network.mid_block.midblock(
                walk.hidden, walk.time, encoder_hidden_states=walk.conditioning.embeddings
            )
            return hidden_states + self._write(network.mid_block.ctrl_to_base, walk.hidden, walk)
        part = network.down_blocks[block.index]
        has_attention = part.attentions is not None
        if block.kind == "resnet" and has_attention:
            return None
        layer = _layer(block, part)
        if block.kind == "sampler":
            walk.hidden = part.downsamplers(walk.hidden)
        else:
            walk.hidden = part.resnets[layer](walk.hidden, walk.time)
            if has_attention:
                walk.hidden = part.attentions[layer](
                    walk.hidden, encoder_hidden_states=walk.conditioning.embeddings, return_dict=False
                )[0]
        walk.skips.append(walk.hidden)
        return hidden_states + self._write(part.ctrl_to_base[layer], walk.hidden, walk)

    def _decode(
        self, block: Block, hidden_states: Tensor, skips: tuple[Tensor, ...], walk: Walk
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        control = walk.skips.pop()
        layer = int(block.name.rpartition(".")[2])
        write = walk.network.up_connections[block.index].ctrl_to_base[layer]
        hidden_states = hidden_states + self._write(write, control, walk)
        if not walk.skips:
            # The skip connection of conv_in, which no block hands on.
            first = self._write(walk.network.control_to_base_for_conv_in, control, walk)
            skips = (skips[0] + first,)
        return hidden_states, skips

    def _write(self, convolution: Any, control: Tensor, walk: Walk) -> Tensor:
        return masked(convolution(control) * self.scale, walk.mask)

    def _walk(self, run: Run) -> Walk:
        return run.state(self, partial(self._prepare, run))

    def _prepare(self, run: Run) -> Walk:
        network = load_network(run.pipe, self.model, "ControlNetXSAdapter", partial(check_xs, pipe=run.pipe))
        maps = self.control_maps(run, self.image)
        run.publish(self, maps=maps)
        picture = to_tensor(maps, network.config.conditioning_channels, run)
        if network.config.conditioning_channel_order == "bgr":
            picture = picture.flip(1)
        return Walk(network, picture, self.region(run))


def check_xs(network: Any, where: str, pipe: Pipeline) -> Any:
    """Check a `ControlNetXSAdapter` against the pipeline's U-Net.

    Raises:
        ModelError: it belongs to another U-Net.
    """
    unet = pipe.unet.config
    config = {**network.config, "block_out_channels": network.config.base_block_out_channels}
    dims = network.config.cross_attention_dim
    config["cross_attention_dim"] = dims if isinstance(dims, int) else next(iter(dims))
    check_same_shape(where, config, unet)
    if unet.layers_per_block != 2:
        raise ModelError(
            f"{where} is a ControlNet-XS, which goes with two layers a block; this U-Net has {unet.layers_per_block}"
        )
    check_shrinking(where, network.controlnet_cond_embedding, pipe)
    return network


def _added_conditions(unet: Any, conditioning: Conditioning, dtype: Any) -> Tensor | None:
    """The U-Net's embedding of added conditions, as it will add it to its time embedding."""
    return unet.get_aug_embed(
        emb=conditioning.embeddings.new_zeros((), dtype=dtype),
        encoder_hidden_states=conditioning.embeddings,
        added_cond_kwargs=dict(conditioning.added),
    )


def _read(control: Tensor | None, convolution: Any, hidden_states: Tensor) -> Tensor:
    import torch

    return torch.cat([control, convolution(hidden_states)], dim=1)


def _layer(block: Block, part: Any) -> int:
    """Which layer of its block: a resnet's or attention's own number, after them the downsampler."""
    return len(part.resnets) if block.kind == "sampler" else int(block.name.rpartition(".")[2])
