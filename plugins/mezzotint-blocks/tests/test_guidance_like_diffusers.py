"""FreeU and every kind of guidance beside diffusers' pipelines and guiders, or the paper's formula."""

from __future__ import annotations

import pytest
import torch
from mezzotint_blocks import APG, PAG, SAG, CFGInterval, CFGRescale, CFGZero, DynamicThresholding, FreeU

RUN = {"seed": 3, "steps": 4, "guidance": 5.0, "negative": "dog"}


def by_diffusers(pipeline, **options):
    settings = {
        "num_inference_steps": RUN["steps"],
        "guidance_scale": RUN["guidance"],
        "negative_prompt": RUN["negative"],
    }
    generator = [torch.Generator("cpu").manual_seed(RUN["seed"])]
    return pipeline("a cat", generator=generator, output_type="latent", **{**settings, **options}).images


def test_freeu_is_that_of_diffusers_bit_for_bit(pipe, stock):
    from diffusers import StableDiffusionPipeline

    reference = stock(StableDiffusionPipeline)
    plain = by_diffusers(reference)
    reference.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6)
    expected = by_diffusers(reference)
    assert torch.equal(pipe("a cat", use=[FreeU()], **RUN).latents, expected)
    assert not torch.allclose(expected, plain)


def test_freeu_with_factors_of_one_changes_rounding_only(pipe):
    plain = pipe("a cat", **RUN).latents
    neutral = pipe("a cat", use=[FreeU(b1=1, b2=1, s1=1, s2=1)], **RUN).latents
    # The skip connection still goes through the Fourier transform and back.
    torch.testing.assert_close(neutral, plain, atol=1e-5, rtol=1e-5)


def test_rescale_is_guidance_rescale_of_diffusers_bit_for_bit(pipe, stock):
    from diffusers import StableDiffusionPipeline

    expected = by_diffusers(stock(StableDiffusionPipeline), guidance_rescale=0.7)
    assert torch.equal(pipe("a cat", use=[CFGRescale(0.7)], **RUN).latents, expected)


@pytest.mark.parametrize("guidance", [5.0, 1.0])
@pytest.mark.parametrize("adaptive", [0.0, 0.005])
def test_pag_is_that_of_diffusers_bit_for_bit(pipe, stock, guidance, adaptive):
    from diffusers import StableDiffusionPAGPipeline

    # Above 0 as far as t = 1000 - 3 / 0.005 = 400: diffusers goes on running the third pass below it.
    steps = 4 if adaptive == 0 else 2
    expected = by_diffusers(
        stock(StableDiffusionPAGPipeline),
        guidance_scale=guidance,
        num_inference_steps=steps,
        pag_scale=3.0,
        pag_adaptive_scale=adaptive,
    )
    run = {**RUN, "guidance": guidance, "steps": steps}
    made = pipe("a cat", use=[PAG(scale=3.0, adaptive=adaptive)], **run).latents
    if adaptive:
        torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-5)
    else:
        assert torch.equal(made, expected)
    assert not torch.allclose(expected, pipe("a cat", **run).latents, atol=1e-3)


def test_pag_with_rescale_is_that_of_diffusers_bit_for_bit(pipe, stock):
    from diffusers import StableDiffusionPAGPipeline

    expected = by_diffusers(stock(StableDiffusionPAGPipeline), pag_scale=2.0, guidance_rescale=0.5)
    assert torch.equal(pipe("a cat", use=[PAG(2.0), CFGRescale(0.5)], **RUN).latents, expected)


def test_pag_in_several_layers_is_that_of_diffusers_bit_for_bit(pipe, stock):
    from diffusers import StableDiffusionPAGPipeline

    reference = stock(StableDiffusionPAGPipeline)
    reference.set_pag_applied_layers(["mid", "up_blocks.1"])
    expected = by_diffusers(reference, pag_scale=3.0)
    made = pipe("a cat", use=[PAG(layers=["mid.**.attn1", "up.1.**.attn1"])], **RUN).latents
    assert torch.equal(made, expected)


@pytest.mark.parametrize("guidance", [5.0, 1.0])
def test_sag_is_that_of_diffusers(pipe, stock, guidance):
    from diffusers import StableDiffusionSAGPipeline

    reference = stock(StableDiffusionSAGPipeline)
    expected = by_diffusers(reference, guidance_scale=guidance, sag_scale=0.75)
    run = {**RUN, "guidance": guidance}
    made = pipe("a cat", use=[SAG(0.75)], **run).latents
    # diffusers multiplies out the attention of the middle block where it is fused here, and its noise levels are
    # rounded to single precision.
    torch.testing.assert_close(made, expected, atol=5e-5, rtol=5e-5)
    assert not torch.allclose(expected, pipe("a cat", **run).latents, atol=1e-2)


def by_guider(pipe, guider, **run):
    """The run with the positive and negative prediction combined by a guider of diffusers."""
    from mezzotint import ClassifierFreeGuidance, Extension, hookimpl

    class Guided(ClassifierFreeGuidance):
        def combine(self, predictions, run):
            guider.set_state(
                step=run.step.index, num_inference_steps=run.step.count, timestep=run.step.timestep
            )
            return guider.forward(predictions["positive"], predictions["negative"]).pred

    class ByGuider(Extension, name="by-guider"):
        @hookimpl
        def guidance(self, run):
            return Guided(run.request.guidance)

    return pipe("a cat", use=[ByGuider()], **run).latents


@pytest.mark.parametrize("zero_init", [0, 1])
def test_cfg_zero_is_the_guider_of_diffusers_bit_for_bit(pipe, zero_init):
    from diffusers.guiders import ClassifierFreeZeroStarGuidance

    guider = ClassifierFreeZeroStarGuidance(guidance_scale=RUN["guidance"], zero_init_steps=zero_init)
    expected = by_guider(pipe, guider, **RUN)
    assert torch.equal(pipe("a cat", use=[CFGZero(zero_init=zero_init)], **RUN).latents, expected)
    assert not torch.allclose(expected, pipe("a cat", **RUN).latents, atol=1e-3)


@pytest.mark.parametrize(("eta", "momentum", "norm"), [(0.0, -0.5, 15.0), (1.0, 0.0, 0.0), (0.3, 0.5, 2.0)])
def test_apg_on_predictions_is_the_guider_of_diffusers(pipe, eta, momentum, norm):
    from diffusers.guiders import AdaptiveProjectedGuidance
    from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer

    guider = AdaptiveProjectedGuidance(
        guidance_scale=RUN["guidance"] - 1,
        adaptive_projected_guidance_rescale=norm,
        eta=eta,
        use_original_formulation=True,
    )
    guider.momentum_buffer = MomentumBuffer(momentum)
    expected = by_guider(pipe, guider, **RUN)
    apg = APG(eta=eta, momentum=momentum, norm=norm, space="prediction")
    # The same sums in another order.
    torch.testing.assert_close(pipe("a cat", use=[apg], **RUN).latents, expected, atol=1e-5, rtol=1e-5)


def test_apg_without_limit_momentum_and_projection_is_plain_guidance(pipe):
    plain = pipe("a cat", **RUN).latents
    for space in ("denoised", "prediction"):
        apg = APG(eta=1, momentum=0, norm=0, space=space)
        torch.testing.assert_close(pipe("a cat", use=[apg], **RUN).latents, plain, atol=1e-4, rtol=1e-4)


def test_apg_takes_out_what_lies_along_the_positive_prediction():
    from mezzotint_blocks.guidance.apg import limit, project

    positive, difference = torch.randn(2, 2, 4, 8, 8)
    across = project(difference, positive, 0.0)
    assert (across * positive).sum((1, 2, 3)).abs().max() < 1e-3
    along = project(difference, positive, 1.0) - across
    torch.testing.assert_close(across + along, difference)
    limited = limit(difference * 10, 3.0)
    torch.testing.assert_close(limited.flatten(1).norm(dim=1), torch.full((2,), 3.0))
    assert torch.equal(limit(difference * 0.01, 3.0), difference * 0.01)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_thresholding_to_a_limit_is_that_inside_diffusers_scheduler(tmp_path, prediction_type):
    from diffusers import DPMSolverMultistepScheduler
    from mezzotint.testing import tiny_pipeline

    pipe = tiny_pipeline(tmp_path, prediction_type=prediction_type)
    # A solver that uses the clean latents alone: thresholding inside it and before it are the same.
    config = {**pipe.scheduler.config, "algorithm_type": "dpmsolver++"}
    plain = DPMSolverMultistepScheduler.from_config(config)
    own = DPMSolverMultistepScheduler.from_config(
        config, thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=1000.0
    )
    expected = pipe("a cat", scheduler=own, **RUN).latents
    ours = DynamicThresholding(percentile=0.9, limit=1.0)
    # Through the model's own prediction and back, and noise levels in single precision there.
    torch.testing.assert_close(
        pipe("a cat", scheduler=plain, use=[ours], **RUN).latents, expected, atol=1e-3, rtol=1e-3
    )
    assert not torch.allclose(pipe("a cat", scheduler=plain, **RUN).latents, expected, atol=1e-2)


def test_thresholding_is_the_formula_of_imagen():
    from diffusers import DDIMScheduler
    from mezzotint_blocks.guidance.dynamic_thresholding import clip

    denoised = torch.randn(2, 3, 8, 8) * 3
    scheduler = DDIMScheduler(thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=100.0)
    torch.testing.assert_close(clip(denoised, 0.9, 1.0), scheduler._threshold_sample(denoised))
    small = denoised / 100
    assert torch.equal(clip(small, 0.9, 1.0), small)


def test_thresholding_keeps_the_range_of_the_mimicked_scale():
    from mezzotint_blocks.guidance.dynamic_thresholding import keep_range

    denoised, like = torch.randn(2, 3, 8, 8) * 5 + 1, torch.randn(2, 3, 8, 8)
    kept = keep_range(denoised, like, 1.0)

    def reach(latents):
        return (latents - latents.mean((2, 3), keepdim=True)).abs().amax((2, 3))

    torch.testing.assert_close(reach(kept), reach(like))
    torch.testing.assert_close(kept.mean((2, 3)), denoised.mean((2, 3)))
    torch.testing.assert_close(keep_range(like, denoised, 0.9), like)


def test_thresholding_at_the_scale_of_the_call_changes_rounding_only(pipe):
    plain = pipe("a cat", **RUN).latents
    same = pipe("a cat", use=[DynamicThresholding(mimic=RUN["guidance"])], **RUN).latents
    torch.testing.assert_close(same, plain, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(
        pipe("a cat", use=[DynamicThresholding(mimic=1.0)], **RUN).latents, plain, atol=1e-3
    )


def test_an_interval_of_everything_is_bit_equal_to_none(pipe):
    plain = pipe("a cat", **RUN).latents
    for interval in (CFGInterval(), CFGInterval(start=0, end=1), CFGInterval(sigma_low=0, sigma_high=1000)):
        assert torch.equal(pipe("a cat", use=[interval], **RUN).latents, plain)


def test_an_interval_of_noise_levels_is_that_of_the_model(pipe):
    from mezzotint.scheduling.model_config import model_config
    from mezzotint.scheduling.noise_schedule import noise_schedule

    schedule = noise_schedule(model_config(pipe.scheduler))
    pipe.scheduler.set_timesteps(RUN["steps"])
    sigmas = [schedule.sigma_at(int(t)) for t in pipe.scheduler.timesteps]
    middle = CFGInterval(sigma_low=sigmas[2] * 0.99, sigma_high=sigmas[1] * 1.01)
    fractions = CFGInterval(start=0.25, end=0.75)
    assert torch.equal(
        pipe("a cat", use=[middle], **RUN).latents, pipe("a cat", use=[fractions], **RUN).latents
    )
