"""diffusers' own pipelines as the oracle, over the same modules and noise: equal bit for bit."""

import pytest
import torch
from diffusers import (
    ControlNetModel,
    MultiAdapter,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetPipeline,
)
from diffusers import T2IAdapter as T2IAdapterModel
from mezzotint_controlnet import ControlNet, T2IAdapter
from tiny_networks import GUIDANCE, SEED, STEPS, noise_picture, randomise, run_stock, stock_parts


@pytest.mark.parametrize("n", [1, 2])
def test_one_controlnet(n, edges, picture, latents, reference):
    expected = reference(edges, picture, n=n, controlnet_conditioning_scale=0.7)
    assert torch.equal(latents(ControlNet(edges, picture, 0.7), n=n), expected)


def test_without_guidance(edges, picture, latents, reference):
    expected = reference(edges, picture, guidance_scale=1.0)
    assert torch.equal(latents(ControlNet(edges, picture), guidance=1.0), expected)


def test_a_window(edges, picture, latents, reference):
    expected = reference(
        edges, picture, num_inference_steps=5, control_guidance_start=0.2, control_guidance_end=0.7
    )
    assert torch.equal(latents(ControlNet(edges, picture, 1.0, 0.2, 0.7), steps=5), expected)


def test_a_picture_for_each_prompt(edges, latents, reference):
    pictures = [noise_picture(5), noise_picture(6)]
    prompts = ["a cat", "a dog"]
    expected = reference(edges, pictures, prompt=prompts, n=2)
    assert torch.equal(latents(ControlNet(edges, pictures), prompt=prompts, n=2), expected)


def test_two_controlnets_as_multicontrolnet(edges, depth, latents, reference):
    first, second = noise_picture(5), noise_picture(6)
    expected = reference([edges, depth], [first, second], controlnet_conditioning_scale=[0.7, 0.4])
    use = [ControlNet(edges, first, 0.7), ControlNet(depth, second, 0.4)]
    assert torch.equal(latents(*use), expected)
    assert torch.equal(latents(*reversed(use)), expected)


def test_three_controlnets_with_windows_of_their_own(edges, depth, make_controlnet, latents, reference):
    third = make_controlnet(9)
    pictures = [noise_picture(k) for k in range(3)]
    starts, ends = [0.0, 0.25, 0.5], [0.5, 1.0, 1.0]
    expected = reference(
        [edges, depth, third],
        pictures,
        num_inference_steps=4,
        control_guidance_start=starts,
        control_guidance_end=ends,
    )
    use = [
        ControlNet(folder, image, 1.0, start, end)
        for folder, image, start, end in zip([edges, depth, third], pictures, starts, ends, strict=True)
    ]
    assert torch.equal(latents(*use, steps=4), expected)


@pytest.mark.parametrize("guidance", [5.0, 1.0])
@pytest.mark.parametrize("n", [1, 2])
def test_guess_mode(guidance, n, edges, picture, latents, reference):
    expected = reference(edges, picture, n=n, guess_mode=True, guidance_scale=guidance)
    assert torch.equal(latents(ControlNet(edges, picture, mode="guess"), guidance=guidance, n=n), expected)


def test_pooled_conditions(make_controlnet, picture, latents, reference):
    shuffle = make_controlnet(4, global_pool_conditions=True)
    expected = reference(shuffle, picture, controlnet_conditioning_scale=0.7)
    assert torch.equal(latents(ControlNet(shuffle, picture, 0.7)), expected)


def test_pictures_in_the_order_blue_green_red(make_controlnet, picture, latents, reference):
    bgr = make_controlnet(4, controlnet_conditioning_channel_order="bgr")
    assert torch.equal(latents(ControlNet(bgr, picture)), reference(bgr, picture))


@pytest.mark.parametrize("scheduler", ["EulerDiscreteScheduler", "HeunDiscreteScheduler"])
def test_other_schedulers(scheduler, edges, picture, latents, reference, pipe):
    import diffusers

    made = getattr(diffusers, scheduler).from_config(pipe.scheduler.config)
    stock = diffusers.StableDiffusionControlNetPipeline(
        controlnet=diffusers.ControlNetModel.from_pretrained(edges),
        **{**stock_parts(pipe), "scheduler": made},
    )
    expected = run_stock(stock, "a cat", image=picture)
    fresh = getattr(diffusers, scheduler).from_config(pipe.scheduler.config)
    assert torch.equal(latents(ControlNet(edges, picture), scheduler=fresh), expected)


def test_in_bfloat16(edges, picture, tiny_folder):
    import mezzotint

    pipe = mezzotint.load(tiny_folder, dtype="bfloat16")
    stock = StableDiffusionControlNetPipeline(
        controlnet=ControlNetModel.from_pretrained(edges, torch_dtype=torch.bfloat16), **stock_parts(pipe)
    )
    expected = run_stock(stock, "a cat", image=picture)
    latents = pipe(
        "a cat", steps=STEPS, guidance=GUIDANCE, seed=SEED, use=[ControlNet(edges, picture)]
    ).latents
    assert torch.equal(latents, expected)


@pytest.fixture(scope="module")
def make_adapter(tmp_path_factory):
    def make(seed, kind="full_adapter", channels=(8, 16), **config):
        torch.manual_seed(seed)
        adapter = T2IAdapterModel(
            channels=list(channels), num_res_blocks=1, downscale_factor=2, adapter_type=kind, **config
        )
        folder = tmp_path_factory.mktemp("adapter")
        randomise(adapter).save_pretrained(folder)
        return folder

    return make


def adapter_reference(pipe, folders, pictures, scale, n=1):
    adapters = [T2IAdapterModel.from_pretrained(folder) for folder in folders]
    adapter = adapters[0] if len(adapters) == 1 else MultiAdapter(adapters)
    stock = StableDiffusionAdapterPipeline(adapter=adapter, **stock_parts(pipe))
    one = len(adapters) == 1
    return run_stock(
        stock,
        "a cat",
        n,
        image=pictures[0] if one else pictures,
        adapter_conditioning_scale=scale[0] if one else scale,
    )


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("kind", ["full_adapter"])
def test_t2i_adapter(kind, n, pipe, make_adapter, picture, latents):
    folder = make_adapter(1, kind)
    expected = adapter_reference(pipe, [folder], [picture], [0.7], n)
    assert torch.equal(latents(T2IAdapter(folder, picture, 0.7), n=n), expected)


def test_t2i_adapter_of_grey_pictures(pipe, make_adapter, latents):
    folder = make_adapter(1, in_channels=1)
    grey = noise_picture(3).convert("L")
    expected = adapter_reference(pipe, [folder], [grey], [1.0])
    assert torch.equal(latents(T2IAdapter(folder, grey)), expected)


def test_two_adapters_as_multiadapter(pipe, make_adapter, latents):
    folders, pictures = [make_adapter(1), make_adapter(2)], [noise_picture(1), noise_picture(2)]
    expected = adapter_reference(pipe, folders, pictures, [0.7, 0.4])
    use = [
        T2IAdapter(folder, image, scale)
        for folder, image, scale in zip(folders, pictures, (0.7, 0.4), strict=True)
    ]
    assert torch.allclose(latents(*use), expected, atol=1e-5)  # MultiAdapter starts its sum from zeros
    assert torch.equal(latents(*use), latents(*reversed(use)))
