"""Solvers in diffusers' own pipelines, unmodified, with a tiny random U-Net and VAE."""

import diffusers
import pytest
import torch

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
STEPS = 5
CASES = [
    ("euler", "EulerDiscreteScheduler", {}),
    ("heun", "HeunDiscreteScheduler", {}),
    ("dpm2", "KDPM2DiscreteScheduler", {}),
    ("ddim", "DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
    ("dpmpp-2m", "DPMSolverMultistepScheduler", {}),
    ("unipc", "UniPCMultistepScheduler", {}),
]


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8,),
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        norm_num_groups=4,
        sample_size=8,
    )
    return {"unet": unet, "vae": vae}


@pytest.fixture
def generate(models):
    def generate(scheduler, seeds=(1, 2), pipeline="StableDiffusionPipeline", **arguments):
        pipe = getattr(diffusers, pipeline)(
            **models,
            scheduler=scheduler,
            text_encoder=None,
            tokenizer=None,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipe.set_progress_bar_config(disable=True)
        embeddings = torch.linspace(-1, 1, 24).reshape(1, 3, 8)
        if pipeline == "StableDiffusionPipeline":
            arguments |= {"height": 8, "width": 8, "num_images_per_prompt": len(seeds)}
        else:
            embeddings = embeddings.repeat(len(seeds), 1, 1)
        return pipe(
            prompt_embeds=embeddings,
            negative_prompt_embeds=embeddings * 0.3,
            num_inference_steps=STEPS,
            guidance_scale=3.0,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="latent",
            **arguments,
        ).images

    return generate


def pictures(n=2):
    return torch.linspace(-1, 1, n * 3 * 8 * 8).reshape(n, 3, 8, 8)


def distance(ours, theirs):
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize(("name", "theirs", "config"), CASES)
def test_text_to_image_is_that_of_diffusers(make, generate, name, theirs, config):
    like = getattr(diffusers, theirs)(**SD, **config, timestep_spacing="leading")
    assert distance(generate(make(name, like=like)), generate(like)) < 5e-6


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize(("name", "theirs", "config"), CASES)
def test_image_to_image_is_that_of_diffusers(make, generate, name, theirs, config, strength):
    like = getattr(diffusers, theirs)(**SD, **config, timestep_spacing="trailing")
    arguments = {"pipeline": "StableDiffusionImg2ImgPipeline", "image": pictures(), "strength": strength}
    ours = generate(make(name, like=like), **arguments)
    assert distance(ours, generate(like, **arguments)) < 5e-6


def test_inpainting_by_blending_is_that_of_diffusers(make, generate):
    like = diffusers.EulerDiscreteScheduler(**SD, timestep_spacing="trailing")
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 4:] = 1
    arguments = {
        "pipeline": "StableDiffusionInpaintPipeline",
        "image": pictures(),
        "mask_image": mask.repeat(2, 1, 1, 1),
        "strength": 0.7,
        "height": 8,
        "width": 8,
    }
    assert distance(generate(make("euler", like=like), **arguments), generate(like, **arguments)) < 5e-6


@pytest.mark.parametrize("name", ["euler-ancestral", "dpmpp-sde", "dpmpp-2m-sde", "restart"])
def test_an_image_of_a_batch_is_the_image_alone(make, generate, name):
    def alike(seeds):
        options = {"substeps": 3} if name == "restart" else {}
        return generate(make(name, "karras", **options), seeds=seeds)

    # The U-Net itself rounds differently in a batch; other noise would differ by 1 and more.
    torch.testing.assert_close(alike((3, 4))[1:], alike((4,)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "name", ["dpm2", "lms", "dpmpp-3m-sde", "deis", "sa-solver", "er-sde", "restart", "lcm"]
)
def test_the_others_run_there_too(make, generate, name):
    spacing = "lcm" if name == "lcm" else "ays-sd1"
    assert generate(make(name, spacing)).isfinite().all()


def test_callbacks_see_each_model_evaluation_and_may_change_the_sample(make, generate):
    seen = []

    def look(pipe, index, timestep, tensors):
        seen.append(float(timestep))
        return {"latents": tensors["latents"] * 0}

    scheduler = make("heun", "karras")
    end = generate(scheduler, callback_on_step_end=look)
    assert seen == scheduler.timesteps.tolist()
    assert not end.any()
