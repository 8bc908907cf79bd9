"""The whole plugin API: what a plugin provides, and where an extension acts during a run.

A *provider* is a function of a plugin, asked once when the plugin loads; it must be quick and import
nothing heavy. A *run hook* is a method of an `Extension`, called while a run uses that extension.
An implementation takes any subset of the arguments below, by name, and is marked with
`mezzotint.hookimpl`. Every return value is checked where it enters; `None` always means "nothing from
me". Exceptions carry the plugin, its distribution and version, the hook point and the step.

Shapes: `n` images of a run, `p` passes (2 with classifier-free guidance: negative, positive), batch rows
are pass-major (`p * n`), `c, h, w` latent channels, height, width. See `Run` for what `run` shows when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from .hooks.markers import Slot, hookspec

if TYPE_CHECKING:
    from diffusers import SchedulerMixin, UNet2DConditionModel
    from PIL.Image import Image
    from torch import Tensor
    from torch.nn import Module

    from .hooks.blocks import Block, BlockOutput
    from .hooks.conditioning import Conditioning, Pass
    from .hooks.guidance import Guidance
    from .hooks.hook_call import HookCall
    from .hooks.residuals import Residuals
    from .pipeline.pipeline import Pipeline
    from .pipeline.request import Request
    from .pipeline.run import Run
    from .plugins.extension import Extension
    from .plugins.specs import CommandSpec, ModelSpec, PreprocessorSpec
    from .scheduling import SchedulerProvided, SpacingSpec
    from .unet.attention import AttentionProcessor, AttentionTokens


class Providers:
    """What a plugin brings; asked once, when it loads."""

    @hookspec(Slot.PROVIDER, where="plugin")
    def models(self) -> Sequence[ModelSpec]:
        """Models that `mezzotint.load(name)` opens."""

    @hookspec(Slot.PROVIDER, where="plugin")
    def schedulers(self) -> Sequence[SchedulerProvided]:
        """Schedulers by name: what `@solver` returns, a `SchedulerSpec`, or a diffusers scheduler class."""

    @hookspec(Slot.PROVIDER, where="plugin")
    def spacings(self) -> Sequence[SpacingSpec]:
        """Spacings by name: what `@spacing` returns."""

    @hookspec(Slot.PROVIDER, where="plugin")
    def extensions(self) -> Sequence[type[Extension]]:
        """Extension classes, for the command line, recipes and anything that names an extension."""

    @hookspec(Slot.PROVIDER, where="plugin")
    def preprocessors(self) -> Sequence[PreprocessorSpec]:
        """Functions from an image to a control map, by name."""

    @hookspec(Slot.PROVIDER, where="plugin")
    def commands(self) -> Sequence[CommandSpec]:
        """Subcommands of `mezzotint`, imported when they are called."""


class RunHooks:
    """Where an extension acts during one run, in the order in which the hook points first fire."""

    # Once a run, before its plan is final.

    @hookspec(Slot.CHAIN, where="request")
    def request(self, request: Request, pipe: Pipeline) -> Request:
        """What is asked for, before anything is planned or attached: other texts, further extensions.

        Return `dataclasses.replace(request, …)`. Extensions in its `use` join the run, and are planned with it.
        """

    # Once, while the extension is attached (`Pipeline.using`, or a single run).

    @hookspec(Slot.CONTEXT, where="conditioning path")
    def patch_text_encoder(
        self, text_encoder: Module, name: str, pipe: Pipeline
    ) -> AbstractContextManager[Any]:
        """Change weights or modules of a text encoder; undo it exactly on leaving.

        Asked for each of the model's, by name: `text_encoder`, and with Stable Diffusion XL `text_encoder_2`.
        """

    @hookspec(Slot.CONTEXT, where="U-Net")
    def patch_unet(self, unet: UNet2DConditionModel, pipe: Pipeline) -> AbstractContextManager[Any]:
        """Change weights or modules of the U-Net; undo it exactly on leaving."""

    # Once a run, before the loop.

    @hookspec(Slot.EXCLUSIVE, where="scheduler")
    def guidance(self, run: Run) -> Guidance:
        """Which passes the U-Net runs at each step and how their predictions are combined.

        Default: classifier-free guidance (Ho & Salimans 2022), or one pass at a scale of 1 or less.
        """

    @hookspec(Slot.EXCLUSIVE, where="U-Net", per_block=True)
    def attention_processor(self, layer: Block, run: Run) -> AttentionProcessor:
        """A whole attention processor for this layer, called as diffusers calls one; asked once a run."""

    @hookspec(Slot.EXCLUSIVE, where="conditioning path")
    def encode_prompt(self, prompts: list[str], run: Run) -> Conditioning:
        """Turn `len(prompts)` texts into embeddings of shape (len(prompts), tokens, dim).

        Fires once for the prompts and, where a pass needs it, once for the negative ones. Default: the
        pipeline's text encoders.
        """

    @hookspec(Slot.EXCLUSIVE, where="scheduler")
    def make_scheduler(self, run: Run) -> SchedulerMixin:
        """The scheduler of this run. Default: `scheduler=` and `spacing=` of the call, else the model's own."""

    @hookspec(Slot.CHAIN, where="scheduler")
    def timesteps(self, timesteps: Tensor, scheduler: SchedulerMixin, run: Run) -> Tensor:
        """Change the interval: the 1-D timesteps that the loop will visit.

        A tail of what came in starts later (image-to-image); anything else is handed to
        `scheduler.set_timesteps(timesteps=…)`, where the scheduler allows it.
        """

    @hookspec(Slot.EXCLUSIVE, where="scheduler")
    def initial_latents(self, noise: Tensor, scheduler: SchedulerMixin, run: Run) -> Tensor:
        """First latents (n, c, h, w) from unit Gaussian noise of that shape.

        Default: `noise * scheduler.init_noise_sigma`.
        """

    # Every step.

    @hookspec(Slot.CHAIN, where="scheduler")
    def step_begin(self, latents: Tensor, run: Run) -> Tensor:
        """Latents (n, c, h, w) at the start of a step."""

    @hookspec(Slot.CHAIN, where="scheduler")
    def passes(self, passes: tuple[Pass, ...], run: Run) -> tuple[Pass, ...]:
        """The passes of this step, after guidance chose its own: add some, or leave some out.

        A step that lacks one of guidance's own passes is not combined: the pass `positive` alone counts.
        """

    @hookspec(Slot.CHAIN, where="conditioning path")
    def conditioning(self, conditioning: Conditioning, pass_: Pass, run: Run) -> Conditioning:
        """Embeddings, masks and added conditions of one pass (n rows), before each step that runs it."""

    @hookspec(Slot.COLLECT, where="conditioning path")
    def unet_residuals(
        self, sample: Tensor, timestep: Tensor, conditioning: Conditioning, run: Run
    ) -> Residuals:
        """Residuals for the skip connections, the middle block and T2I-Adapter positions; summed.

        `sample` (p * n, c, h, w) is scaled for the model; `conditioning` has p * n rows.
        """

    @hookspec(Slot.CHAIN, where="U-Net")
    def unet_input(self, sample: Tensor, timestep: Tensor, run: Run) -> Tensor:
        """The U-Net's input (p * n, c, h, w); may add channels up to the model's `in_channels`."""

    @hookspec(Slot.CHAIN, where="U-Net")
    def time_embedding(self, emb: Tensor, timestep: Tensor, run: Run) -> Tensor:
        """The time embedding (p * n or 1, dim) after its MLP."""

    @hookspec(Slot.CHAIN, where="U-Net", per_block=True)
    def unet_block_input(
        self, block: Block, hidden_states: Tensor, skips: tuple[Tensor, ...], run: Run
    ) -> Tensor | tuple[Tensor, tuple[Tensor, ...]]:
        """What enters a block, shapes unchanged: `hidden_states`, or `(hidden_states, skips)`.

        `skips` holds the skip connections that a decoder block is about to concatenate (all of them for
        `up.i`, one for `up.i.resnets.j`), and is empty elsewhere.
        """

    @hookspec(Slot.EXCLUSIVE, where="U-Net", per_block=True)
    def unet_block(
        self,
        block: Block,
        forward: Callable[[Tensor], BlockOutput],
        hidden_states: Tensor,
        skips: tuple[Tensor, ...],
        run: Run,
    ) -> BlockOutput:
        """Run a block, or answer in its place; `forward(hidden_states)` is the block itself."""

    @hookspec(Slot.CHAIN, where="U-Net", per_block=True)
    def unet_block_output(
        self, block: Block, hidden_states: Tensor, skips: tuple[Tensor, ...], run: Run
    ) -> Tensor | tuple[Tensor, tuple[Tensor, ...]]:
        """What leaves a block, shapes unchanged: `hidden_states`, or `(hidden_states, skips)`.

        `skips` holds the skip connections that an encoder block `down.i` hands to the decoder.
        """

    @hookspec(Slot.COLLECT, where="U-Net", per_block=True)
    def attention_probe(self, layer: Block, probabilities: Tensor, run: Run) -> None:
        """See attention probabilities (p * n, heads, queries, keys) of a layer; nothing is returned."""

    @hookspec(Slot.COLLECT, where="conditioning path", per_block=True)
    def cross_attention_tokens(self, layer: Block, run: Run) -> AttentionTokens | Sequence[AttentionTokens]:
        """Extra keys and values for a cross-attention layer, attended apart and added with their scale.

        One set of tokens, or several, each attended apart from the others.
        """

    @hookspec(Slot.CHAIN, where="U-Net")
    def unet_output(self, prediction: Tensor, timestep: Tensor, run: Run) -> Tensor:
        """The U-Net's raw output for all passes (p * n, c, h, w)."""

    @hookspec(Slot.CHAIN, where="scheduler")
    def prediction(
        self, prediction: Tensor, predictions: Mapping[str, Tensor], latents: Tensor, run: Run
    ) -> Tensor:
        """The combined prediction (n, c, h, w), in the model's prediction type, after guidance.

        `predictions` has that of each pass of this step by its name, (n, c, h, w).
        """

    @hookspec(Slot.CHAIN, where="scheduler")
    def step_end(self, latents: Tensor, run: Run) -> Tensor:
        """Latents (n, c, h, w) after the scheduler's step."""

    # Once, after the loop.

    @hookspec(Slot.CHAIN, where="output")
    def latents(self, latents: Tensor, run: Run) -> Tensor:
        """Final latents (n, c, h, w) before decoding; height and width may change."""

    @hookspec(Slot.CHAIN, where="output")
    def images(self, images: list[Image], run: Run) -> list[Image]:
        """Decoded images, n of them; their size may change."""

    # Any time.

    @hookspec(Slot.COLLECT, where="every hook point")
    def hook_called(self, call: HookCall, run: Run) -> None:
        """See what each call of an extension's hook changed and how long it took; nothing is returned.

        Also told of the extension's own hooks, except of this one. Without it, nothing is measured.
        """
