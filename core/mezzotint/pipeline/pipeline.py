"""The base pipeline: request → plan → conditioning → loop → images, with hook points on the way.

The loop itself is in `denoise.py`.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar, Unpack

import torch
from diffusers import AutoencoderKL, SchedulerMixin, UNet2DConditionModel
from diffusers.image_processor import VaeImageProcessor
from PIL.Image import Image
from torch import Tensor

from ..errors import PlanError, RequestError
from ..hooks.blocks import Block, find_attention_layers, find_blocks
from ..hooks.conditioning import Conditioning
from ..hooks.guidance import default_guidance
from ..models.components import Components, Source, TextEncoder
from ..models.text_encoding import encode_text
from ..planning.calls import Calls
from ..planning.plan import Plan, make_plan
from ..planning.watched_calls import calls_of
from ..plugins.absent import hinting_at_absent_plugins
from ..plugins.extension import Extension
from ..plugins.registry import Registry
from ..plugins.unread_marks import hint_at_unread_marks
from ..recipes.describe import describe_run, files_of
from ..scheduling import familiar_names, make_scheduler
from ..unet.added_conditions import needs_pooled_text, with_size
from ..unet.attach import attached
from ..unet.text_width import text_width
from .attachment import Attachment
from .decoding import decode, encode
from .denoise import denoise
from .preview import fit_latent_to_rgb, preview_images
from .request import Request, RequestOptions, resolve
from .result import Result
from .run import Clock, Progress, Run, RunCancelled

logger = logging.getLogger("mezzotint")
Resource = TypeVar("Resource")


class Pipeline:
    """A text-to-image model with its plugins. Made by `mezzotint.load`.

    A pipeline serves one run at a time; a second thread waits its turn. Two pipelines share nothing.
    """

    def __init__(self, components: Components, registry: Registry, source: Source) -> None:
        self.components = components
        self.registry = registry
        self.source = source
        self._lock = threading.RLock()
        self._running = False
        self._cache_lock = threading.RLock()
        self._attachment = Attachment(self)
        self._resources: dict[Hashable, Any] = {}

    @property
    def unet(self) -> UNet2DConditionModel:
        """The U-Net."""
        return self.components.unet

    @property
    def vae(self) -> AutoencoderKL:
        """The autoencoder between images and latents; one that changes nothing for a model of pixels."""
        return self.components.vae

    @property
    def text_encoders(self) -> Mapping[str, TextEncoder]:
        """Each text encoder with its tokenizer: `text_encoder`, and with Stable Diffusion XL `text_encoder_2`."""
        return self.components.text_encoders

    @property
    def text_encoder(self) -> Any:
        """The text encoder (transformers' `CLIPTextModel` or `T5EncoderModel`); of several, the first."""
        return self.text_encoders["text_encoder"].model

    @property
    def tokenizer(self) -> Any:
        """The tokenizer (transformers' `CLIPTokenizer` or `T5Tokenizer`); of several, the first."""
        return self.text_encoders["text_encoder"].tokenizer

    @property
    def scheduler(self) -> SchedulerMixin:
        """The model's own scheduler. Runs use a copy; this one never changes."""
        return self.components.scheduler

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        return self.unet.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the U-Net's parameters."""
        return self.unet.dtype

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the model's files, or empty for a model made in memory; read at the first use."""
        from ..hashing import hash_model

        return "" if self.source.path is None else hash_model(self.source.path)

    @cached_property
    def vae_scale_factor(self) -> int:
        """Pixels for each latent, in one direction."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def native_size(self) -> tuple[int, int]:
        """(width, height) in pixels that the U-Net was made for."""
        size = self.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return width * self.vae_scale_factor, height * self.vae_scale_factor

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        negative: str | Sequence[str] | None = None,
        steps: int | None = None,
        scheduler: str | SchedulerMixin | None = None,
        spacing: str | None = None,
        guidance: float | None = None,
        seed: int | None = None,
        n: int = 1,
        size: tuple[int, int] | None = None,
        use: Extension | Sequence[Extension] = (),
        on_step: Callable[[Progress], None] | None = None,
    ) -> Result:
        """Make images.

        Args:
            prompt: one text, or several for as many images (times `n`).
            negative: what to steer away from; one for all, or one for each prompt.
            steps: steps of the scheduler.
            scheduler: a name (`mezzotint schedulers list`), `diffusers:ClassName`, or a scheduler object.
            spacing: a name; with what interval t falls.
            guidance: scale of classifier-free guidance; 1 or less runs without.
            seed: image k gets `torch.Generator("cpu").manual_seed(seed + k)`; default: a random one, kept in
                the recipe.
            n: images for each prompt.
            size: (width, height) in pixels.
            use: extensions to switch on for this run.
            on_step: called after each step; may look (`Progress.preview`) and cancel.

        Values left out come from the model. Calling again with the same values gives the same bits on the
        same machine.

        Raises:
            RequestError: a value is out of range.
            PlanError: the extensions cannot be combined.
            RunCancelled: `on_step` cancelled.
        """
        with self._turn():
            options: RequestOptions = {
                "negative": negative,
                "steps": steps,
                "scheduler": scheduler,
                "spacing": spacing,
                "guidance": guidance,
                "seed": seed,
                "n": n,
                "size": size,
            }
            request, plan = self._asked(self._request(prompt, options), use)
            return self._run(request, plan, on_step)

    def plan(
        self,
        prompt: str | Sequence[str] = "",
        *,
        use: Extension | Sequence[Extension] = (),
        **options: Unpack[RequestOptions],
    ) -> Plan:
        """What a call with these values would do, without doing it: `plan.explain()` prints it."""
        with self._lock:
            return self._asked(self._request(prompt, options), use)[1]

    @contextmanager
    def using(self, *extensions: Extension) -> Iterator[Pipeline]:
        """Keep extensions attached over several runs; on leaving, the model is as it was.

        Other threads wait meanwhile.
        """
        with self._lock:
            self._refuse_inside_a_run()
            with self._attachment.using(extensions, self._plan(None, extensions)):
                yield self

    @property
    def attached(self) -> tuple[Extension, ...]:
        """What `using` keeps attached at the moment, in order."""
        return self._attachment.in_use

    def resource(self, key: Hashable, make: Callable[[], Resource]) -> Resource:
        """What an extension loads, made once for a key (content, not only a path) and shared between runs."""
        with self._cache_lock:
            if key not in self._resources:
                self._resources[key] = make()
            resource: Resource = self._resources[key]
            return resource

    def encode(self, pictures: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Latents (n, c, h, w) of pictures (n, 3, height, width) in [-1, 1], as the U-Net has them without noise.

        Args:
            generators: one for each picture, for what its encoder leaves to chance.
        """
        with self._lock, torch.no_grad():
            return encode(pictures, self.components, generators)

    def decode(self, latents: Tensor, generators: list[torch.Generator] | None = None) -> list[Image]:
        """Pictures of latents (n, c, h, w) without noise.

        Args:
            generators: one for each picture, for a decoder that leaves something to chance.
        """
        with self._lock, torch.no_grad():
            decoded = decode(latents, self.components, generator=generators)
        images: list[Image] = self._image_processor.postprocess(decoded, do_denormalize=[True] * len(decoded))
        return images

    def free(self) -> None:
        """Forget all cached resources."""
        with self._cache_lock:
            self._resources.clear()

    def _request(self, prompt: str | Sequence[str], options: RequestOptions) -> Request:
        request = resolve(
            prompt,
            defaults=self.source.defaults,
            native_size=self.native_size,
            size_multiple=self.vae_scale_factor,
            **options,
        )
        scheduler, spacing = familiar_names(
            request.scheduler, request.spacing, self.registry.schedulers, self.registry.spacings
        )
        return replace(request, scheduler=scheduler, spacing=spacing)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until no other thread runs; refuse a run from inside a run of the same thread."""
        with self._lock:
            self._refuse_inside_a_run()
            self._running = True
            try:
                yield
            finally:
                self._running = False

    def _refuse_inside_a_run(self) -> None:
        # The outer run's hooks are in the model, and would act in the inner one as well.
        if self._running:
            raise RequestError(
                "this pipeline is in the middle of a run; load a second one to run inside a hook"
            )

    def _asked(self, request: Request, use: Extension | Sequence[Extension]) -> tuple[Request, Plan]:
        """The request after the extensions' changes, and the plan of it with the extensions that it brings."""
        plan = self._plan(request, use)
        changed = Calls(plan).request(request, self)
        if changed is request:
            return request, plan
        use = (use,) if isinstance(use, Extension) else use
        return changed, self._plan(changed, (*use, *changed.use))

    def _plan(self, request: Request | None, use: Extension | Sequence[Extension]) -> Plan:
        use = (use,) if isinstance(use, Extension) else use
        if not isinstance(use, list | tuple):
            raise RequestError(f"use= takes an Extension or a list of them, not {use!r}")
        blocks, layers = self._places
        return make_plan(request, (*self._attachment.in_use, *use), self.registry, blocks, layers)

    @cached_property
    def _places(self) -> tuple[dict[str, Block], dict[str, Block]]:
        return find_blocks(self.unet), find_attention_layers(self.unet)

    def _run(self, request: Request, plan: Plan, on_step: Callable[[Progress], None] | None) -> Result:
        calls = calls_of(plan)
        texts = (*request.prompts, *request.negatives)
        unread = hint_at_unread_marks(texts, [use.extension for use in plan.uses], self.registry)
        if unread is not None:
            logger.warning("%s", unread)
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in request.seeds]
        run = Run(self, request, plan, generators)
        run._encode = self._encoder(run, calls)
        files = files_of(plan)
        clock = Clock()
        with ExitStack() as stack:
            self._attachment.patch(calls, stack)
            run.guidance = calls.guidance(run) or default_guidance(run)
            stack.enter_context(attached(self.unet, calls, run))
            latents = denoise(run, calls, self._stepper(on_step))
            latents = calls.latents(latents, run)
            _refuse_not_finite(latents)
            images = calls.images(self.decode(latents, run.generators), run)
        recipe = describe_run(run, files)
        return Result(images, latents, recipe, plan, clock(), run.outputs)

    def make_scheduler(self, request: Request) -> SchedulerMixin:
        """A fresh scheduler for a run: by the request's name, a copy of its object, or of the model's own."""
        chosen = request.scheduler
        if isinstance(chosen, str) or (chosen is None and request.spacing is not None):
            with hinting_at_absent_plugins(self.registry):
                return make_scheduler(
                    chosen,
                    spacing=request.spacing,
                    like=self.scheduler,
                    schedulers=self.registry.schedulers,
                    families=self.registry.families,
                    spacings=self.registry.spacings,
                )
        if request.spacing is not None:
            raise PlanError("spacing= goes with a scheduler's name; a scheduler object has its own spacing")
        if chosen is not None and not (hasattr(chosen, "set_timesteps") and hasattr(chosen, "step")):
            raise RequestError(
                "scheduler= takes a name (mezzotint schedulers list) or a scheduler object, such as what "
                f"mezzotint.scheduler returns, not {chosen!r}"
            )
        return copy.deepcopy(self.scheduler if chosen is None else chosen)

    def _encoder(self, run: Run, calls: Calls) -> Callable[[list[str]], Conditioning]:
        inside = False

        config = self.unet.config

        def encode(prompts: list[str]) -> Conditioning:
            nonlocal inside
            if inside or not calls.acts("encode_prompt"):
                return with_size(self._encode_text(prompts, run.device), config, run.request.size)
            inside = True
            try:
                like = next(self.text_encoder.parameters())
                added = ("text_embeds",) if needs_pooled_text(config) else ()
                answer = calls.encode_prompt(prompts, like, text_width(config), added, run)
            finally:
                inside = False
            answer = self._encode_text(prompts, run.device) if answer is None else answer
            return with_size(answer, config, run.request.size)

        return encode

    def _encode_text(self, prompts: list[str], device: torch.device) -> Conditioning:
        conditioning, cut = encode_text(
            prompts,
            list(self.text_encoders.values()),
            self.components.family.embed,
            device,
            self.text_encoder.dtype,
        )
        for text in filter(None, cut):
            logger.warning("the prompt is too long for the text encoder; cut off: %r", text)
        return conditioning

    @cached_property
    def _image_processor(self) -> VaeImageProcessor:
        return VaeImageProcessor(vae_scale_factor=self.vae_scale_factor)

    def _stepper(self, on_step: Callable[[Progress], None] | None) -> Callable[[Run, Tensor], None]:
        def step(run: Run, latents: Tensor) -> None:
            if on_step is None or run.step is None:
                return
            progress = Progress(run.step.index, run.step.count, run.clock(), latents, self._preview)
            on_step(progress)
            if progress.cancelled:
                raise RunCancelled(f"cancelled after step {run.step.index + 1} of {run.step.count}")

        return step

    def _preview(self, latents: Tensor) -> list[Image]:
        latent_to_rgb = self.resource("latent to RGB", lambda: fit_latent_to_rgb(self.components))
        return preview_images(latents, latent_to_rgb, self.vae_scale_factor)


def _refuse_not_finite(latents: Tensor) -> None:
    """A picture of NaN is black, and says nothing about why."""
    if not torch.isfinite(latents).all():
        raise RequestError(
            "the latents are not finite at the end of the run: weights hold NaN, a scale is far too large, or the "
            "model overflows in float16 (try dtype='float32')"
        )
