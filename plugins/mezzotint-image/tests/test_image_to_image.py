"""Image-to-image beside diffusers' own pipeline, and what it says of wrong input."""

from __future__ import annotations

import pytest
import torch
from mezzotint import Extension, hookimpl
from mezzotint.errors import MezzotintError, PlanError, RequestError
from mezzotint_image import ImageToImage, Inpaint
from start_pictures import SEED, generators, half_mask, noise_picture


@pytest.mark.parametrize("strength", [0.1, 0.55, 0.8, 1.0])
@pytest.mark.parametrize(
    "scheduler",
    [
        "DDIMScheduler",
        "DDPMScheduler",
        "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler",
        "HeunDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
        "LCMScheduler",
    ],
)
def test_latents_are_those_of_diffusers(pipe, stock, scheduler, strength):
    pictures = [noise_picture(1), noise_picture(2)]
    expected = stock("StableDiffusionImg2ImgPipeline", scheduler=scheduler)(
        "a cat",
        num_images_per_prompt=2,
        image=pictures,
        strength=strength,
        num_inference_steps=10,
        guidance_scale=5.0,
        generator=generators(2),
        output_type="latent",
    ).images
    use = [ImageToImage(pictures, strength=strength)]
    result = pipe(
        "a cat", n=2, seed=SEED, steps=10, guidance=5.0, scheduler=f"diffusers:{scheduler}", use=use
    )
    assert torch.equal(result.latents, expected)


def test_a_native_solver_starts_in_the_middle_too(pipe, stock):
    import mezzotint

    native = mezzotint.scheduler("dpmpp-2m", spacing="karras", like=pipe.scheduler)
    plain = stock("StableDiffusionImg2ImgPipeline")
    plain.scheduler = native
    picture = noise_picture(3)
    expected = plain(
        "a cat",
        image=picture,
        strength=0.5,
        num_inference_steps=8,
        guidance_scale=5.0,
        generator=generators(1),
        output_type="latent",
    ).images
    use = [ImageToImage(picture, strength=0.5)]
    result = pipe("a cat", seed=SEED, steps=8, guidance=5.0, scheduler="dpmpp-2m", spacing="karras", use=use)
    assert torch.equal(result.latents, expected)


def test_the_weaker_the_more_of_the_picture_is_left(pipe):
    picture = noise_picture(4)
    clean = pipe.encode(*_encoded(picture))
    distances = [
        (pipe("a cat", seed=SEED, steps=20, use=[ImageToImage(picture, strength=s)]).latents - clean)
        .square()
        .mean()
        for s in (0.1, 0.5, 1.0)
    ]
    assert distances[0] < distances[1] < distances[2]


def _encoded(picture):
    from diffusers.image_processor import VaeImageProcessor

    return VaeImageProcessor(vae_scale_factor=2).preprocess(picture), generators(1)


def test_an_image_of_a_batch_is_the_one_that_it_is_alone(pipe):
    picture = noise_picture(5)
    together = pipe("a cat", n=3, seed=SEED, steps=4, use=[ImageToImage(picture)]).latents
    alone = pipe("a cat", seed=SEED + 2, steps=4, use=[ImageToImage(picture)]).latents
    assert torch.allclose(together[2:], alone, atol=1e-5)


@pytest.mark.parametrize("resize", ["just", "crop", "fill"])
def test_a_picture_of_another_shape_fits(pipe, resize):
    wide = noise_picture(6, (90, 40))
    result = pipe("a cat", seed=SEED, steps=2, size=(32, 48), use=[ImageToImage(wide, resize=resize)])
    assert result.images[0].size == (32, 48)


def test_crop_takes_the_middle(pipe):
    wide = noise_picture(7, (64, 32))
    middle = wide.crop((16, 0, 48, 32))
    cropped, exact = (
        pipe("a cat", seed=SEED, steps=2, use=[ImageToImage(each)]).latents for each in (wide, middle)
    )
    assert torch.equal(cropped, exact)


def test_a_picture_goes_by_its_file_into_the_recipe(pipe, tmp_path):
    noise_picture(8).save(tmp_path / "start.png")
    result = pipe("a cat", seed=SEED, steps=2, use=[ImageToImage(tmp_path / "start.png", strength=0.5)])
    (extension,) = result.recipe["extensions"]
    assert extension["name"] == "image-to-image"
    assert extension["options"]["strength"] == 0.5
    assert "start.png" in str(extension)


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda: ImageToImage("missing.png"), RequestError, "image-to-image: image missing.png is missing"),
        (lambda: ImageToImage(noise_picture(1), strength=0.05), RequestError, "leaves none of 10 steps"),
        (lambda: ImageToImage([noise_picture(1)] * 3), RequestError, "3 pictures for a run of 2 images"),
        (lambda: ImageToImage(noise_picture(1), strength=0), MezzotintError, "greater than 0"),
        (lambda: ImageToImage(noise_picture(1), strength=1.5), MezzotintError, "less than or equal to 1"),
    ],
)
def test_what_cannot_be_is_one_sentence(pipe, use, error, message):
    with pytest.raises(error, match=message):
        pipe("a cat", n=2, steps=10, seed=SEED, use=[use()])


class Cut(Extension, name="cut"):
    """A part of the interval alone."""

    begin: int
    end: int

    @hookimpl(after="image-to-image")
    def timesteps(self, timesteps):
        return timesteps[self.begin : self.end]


class CutBefore(Extension, name="cut-before"):
    """The second half of the interval."""

    @hookimpl(before="image-to-image")
    def timesteps(self, timesteps):
        return timesteps[len(timesteps) // 2 :]


class First(Extension, name="first"):
    """Keeps what the loop starts from."""

    @hookimpl
    def step_begin(self, latents, run):
        if run.step.index == 0:
            run.publish(self, latents=latents.clone(), timestep=int(run.step.timestep), count=run.step.count)


def test_the_noise_is_that_of_the_timestep_which_the_loop_begins_with(pipe):
    picture = noise_picture(1)

    def first(steps, strength, *others):
        use = [ImageToImage(picture, strength=strength), *others, First()]
        return pipe("a cat", steps=steps, seed=SEED, scheduler="ddim", use=use).outputs["first"]

    cut, plain = first(8, 1.0, Cut(2, 8)), first(8, 0.75)
    assert cut["timestep"] == plain["timestep"]
    assert torch.equal(cut["latents"], plain["latents"])
    assert first(8, 0.5, CutBefore())["count"] == 2


def test_a_step_of_many_evaluations_is_run_whole(pipe):
    from mezzotint import scheduler

    solver = scheduler("restart", like=pipe.scheduler)
    solver.set_timesteps(8)
    use = [ImageToImage(noise_picture(1), strength=0.13), First()]
    result = pipe("a cat", steps=8, seed=SEED, scheduler="restart", use=use)
    assert result.outputs["first"]["count"] == len(solver.timesteps) - solver.step_starts[-1]


@pytest.mark.parametrize("steps", [1, 3, 7, 30, 999])
def test_the_strength_that_is_proposed_is_enough(pipe, steps):
    with pytest.raises(RequestError, match="at least") as raised:
        pipe("a cat", steps=steps, use=[ImageToImage(noise_picture(1), strength=0.0001)])
    strength = float(str(raised.value).rsplit(" ", 1)[1])
    use = [ImageToImage(noise_picture(1), strength=strength), First()]
    assert pipe("a cat", steps=steps, use=use).outputs["first"]["count"] == 1


def test_a_scheduler_that_cannot_start_from_a_picture_is_refused(pipe):
    for use in (ImageToImage(noise_picture(1)), Inpaint(noise_picture(1), half_mask())):
        with pytest.raises(RequestError, match="FlowMatchEulerDiscreteScheduler has no add_noise"):
            pipe("a cat", scheduler="diffusers:FlowMatchEulerDiscreteScheduler", use=[use])


def test_a_model_made_for_inpainting_is_refused(shared_pipes):
    with pytest.raises(RequestError, match="made for inpainting.*use inpaint"):
        shared_pipes["inpainting"]("a cat", use=[ImageToImage(noise_picture(1))])


@pytest.mark.parametrize("size", [(1, 400), (400, 1), (7, 301)])
def test_a_picture_much_thinner_than_the_run_is_filled_around(pipe, size):
    use = [ImageToImage(noise_picture(1, size), resize="fill")]
    assert pipe("a cat", seed=SEED, steps=2, size=(48, 24), use=use).images[0].size == (48, 24)


def test_a_file_that_is_changed_meanwhile_is_not_what_the_recipe_has(pipe, tmp_path):
    path = tmp_path / "start.png"
    noise_picture(8).save(path)
    use = ImageToImage(path)
    before = use.files()
    result = pipe("a cat", steps=2, use=[use], on_step=lambda step: noise_picture(9).save(path))
    assert result.recipe["extensions"][0]["files"] == before != use.files()


def test_a_picture_for_all_images_is_encoded_once(pipe, monkeypatch):
    calls, encode = [], pipe.vae.encode
    monkeypatch.setattr(pipe.vae, "encode", lambda x: (calls.append(len(x)), encode(x))[1])
    pipe("a cat", n=3, steps=1, use=[ImageToImage(noise_picture(1), strength=1)])
    assert calls == [1]


def test_it_does_not_go_with_inpaint_or_twice(pipe):
    picture = noise_picture(1)
    with pytest.raises(PlanError, match="inpaint"):
        pipe.plan("a cat", use=[ImageToImage(picture), Inpaint(picture, mask=picture)])
    with pytest.raises(PlanError, match="image-to-image.* may be used once"):
        pipe.plan("a cat", use=[ImageToImage(picture), ImageToImage(picture)])
