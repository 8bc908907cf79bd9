"""The loop. Every task is an extension of it; nothing here knows one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from ..errors import RequestError
from ..hooks.conditioning import Conditioning, Pass, concatenate
from ..hooks.guidance import NEGATIVE, needs_unconditional
from ..planning.calls import Calls
from ..unet.attach import residual_shapes
from ..unet.timestep_cond import guidance_embedding
from .interval import apply_interval, set_timesteps
from .learned_variance import join_variance, split_variance
from .run import LoopStep, Run


def denoise(run: Run, calls: Calls, on_step: Callable[[Run, Tensor], None]) -> Tensor:
    """From noise to latents (n, c, h, w), with every hook of the run; without hooks, what diffusers computes.

    Args:
        on_step: called after each step with the latents; raising ends the run.
    """
    request, pipe = run.request, run.pipe
    prompts = _Prompts(run, calls)
    prompts["positive"]

    chosen = calls.make_scheduler(run)
    scheduler: Any = pipe.make_scheduler(request) if chosen is None else chosen
    run.scheduler = scheduler
    set_timesteps(scheduler, request.steps, run.device, request.seeds)
    timesteps = scheduler.timesteps
    if calls.acts("timesteps"):
        timesteps = apply_interval(scheduler, timesteps, calls.timesteps(timesteps, scheduler, run))
    run.timesteps = timesteps

    noise = randn_tensor(_latent_shape(run), run.generators, run.device, prompts["positive"].embeddings.dtype)
    first = calls.initial_latents(noise, scheduler, run) if calls.acts("initial_latents") else None
    # Flow-matching schedulers of diffusers have no such attribute: theirs is 1.
    latents = noise * getattr(scheduler, "init_noise_sigma", 1.0) if first is None else first

    extra = _step_arguments(scheduler, run)
    unconditional = needs_unconditional(run)
    timestep_cond = guidance_embedding(run, latents.dtype)
    predict = partial(_predict, run, calls, prompts, timestep_cond)
    run._evaluate = lambda latents: predict(latents)[0]
    run.clock.start()
    for index, timestep in enumerate(timesteps):
        run.step = LoopStep(index, len(timesteps), timestep)
        latents = run.latents = calls.step_begin(latents, run)
        own = run.guidance.passes(run)
        run.passes = calls.passes(own, run)
        predictions, variance = predict(latents)
        complete = run.passes is own or all(pass_.name in predictions for pass_ in own)
        prediction = run.guidance.combine(predictions, run) if complete else predictions["positive"]
        prediction = calls.prediction(prediction, predictions, latents, run)
        output = join_variance(prediction, variance, scheduler)
        if unconditional:
            extra["uncond_output"] = predictions.get(NEGATIVE.name)
        latents = scheduler.step(output, timestep, latents, **extra, return_dict=False)[0]
        latents = calls.step_end(latents, run)
        on_step(run, latents)
    run.step, run.passes, run.latents, run.conditioning = None, (), None, None
    return latents


def _predict(
    run: Run, calls: Calls, prompts: _Prompts, timestep_cond: Tensor | None, latents: Tensor
) -> tuple[dict[str, Tensor], Tensor | None]:
    """The U-Net's prediction (n, c, h, w) for each of `run.passes`, by name, and its variance, if it has one."""
    assert run.step is not None
    unet, timestep = run.pipe.unet, run.step.timestep
    sample = torch.cat([latents] * len(run.passes)) if len(run.passes) > 1 else latents
    if hasattr(run.scheduler, "scale_model_input"):
        sample = run.scheduler.scale_model_input(sample, timestep)
    conditioning = run.conditioning = prompts.of(run.passes)
    extra = {}
    if calls.acts("unet_residuals"):
        shapes = partial(residual_shapes, unet, sample)
        residuals = calls.unet_residuals(sample, timestep, conditioning, shapes, run)
        extra = {} if residuals is None else residuals.unet_arguments(sample, len(shapes()["down"]))
    sample = calls.unet_input(sample, timestep, run)
    if sample.shape[1] != unet.config.in_channels:
        raise RequestError(
            f"this U-Net takes {unet.config.in_channels} input channels and got {sample.shape[1]}: "
            "it needs an extension that adds the others at unet_input (inpainting, for example)"
        )
    prediction = unet(
        sample,
        timestep,
        encoder_hidden_states=conditioning.embeddings,
        timestep_cond=timestep_cond,
        added_cond_kwargs=dict(conditioning.added) or None,
        encoder_attention_mask=conditioning.attention_mask,
        **extra,
        return_dict=False,
    )[0]
    expected = (sample.shape[0], unet.config.out_channels, *sample.shape[2:])
    if prediction.shape != expected:
        raise RequestError(
            f"the U-Net returned {tuple(prediction.shape)}, expected {expected}: an extension changed a shape inside"
        )
    rows = calls.unet_output(prediction, timestep, run).chunk(len(run.passes))
    predictions = {pass_.name: part for pass_, part in zip(run.passes, rows, strict=True)}
    return split_variance(predictions, latents.shape[1])


class _Prompts:
    """The run's conditionings by name, encoded when first asked for, and their batch for a set of passes."""

    def __init__(self, run: Run, calls: Calls) -> None:
        self._run = run
        self._calls = calls
        self._encoded: dict[str, Conditioning] = {}
        self._batches: dict[tuple[Pass, ...], Conditioning] = {}

    def __getitem__(self, name: str) -> Conditioning:
        if name not in self._encoded:
            texts = {"positive": self._run.request.prompts, "negative": self._run.request.negatives}
            if name not in texts:
                raise RequestError(f"a pass is conditioned on {name!r}; there are positive and negative")
            # One negative prompt for all is encoded as such, one row a prompt, as diffusers does.
            encoded = self._run.encode(list(texts[name]), negative=name == "negative")
            self._encoded[name] = encoded.repeat(self._run.request.n)
        return self._encoded[name]

    def of(self, passes: tuple[Pass, ...]) -> Conditioning:
        """Conditioning (p * n rows) of the passes; the same object at every step where no hook changes it."""
        encoded = [self[pass_.conditioning] for pass_ in passes]
        if self._calls.acts("conditioning"):
            changed = [
                self._calls.conditioning(conditioning, pass_, self._run)
                for conditioning, pass_ in zip(encoded, passes, strict=True)
            ]
            if any(new is not old for new, old in zip(changed, encoded, strict=True)):
                return concatenate(changed)
        if passes not in self._batches:
            self._batches[passes] = concatenate(encoded)
        return self._batches[passes]


def _latent_shape(run: Run) -> tuple[int, int, int, int]:
    width, height = run.request.size
    factor = run.pipe.vae_scale_factor
    return run.n, run.pipe.vae.config.latent_channels, height // factor, width // factor


def _step_arguments(scheduler: Any, run: Run) -> dict[str, Any]:
    """`eta` and `generator`, for schedulers whose `step` takes them."""
    accepted = inspect.signature(scheduler.step).parameters
    return {name: value for name, value in (("eta", 0.0), ("generator", run.generators)) if name in accepted}
