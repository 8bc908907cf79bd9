"""Stable Diffusion XL: ControlNet, Union, XS and the adapters against diffusers, with both of its text encoders."""

import inspect

import diffusers
import mezzotint_controlnet
import pytest
import torch
from diffusers import ControlNetModel, ControlNetUnionModel, ControlNetXSAdapter
from diffusers import T2IAdapter as T2IAdapterModel
from mezzotint.errors import ModelError
from mezzotint.testing import fingerprint, save_tiny_xl_model, tiny_pipeline
from mezzotint_controlnet import ControlNet, ControlNetUnion, ControlNetXS, T2IAdapter
from tiny_networks import GUIDANCE, HINT, SEED, STEPS, noise_picture, randomise, stock_parts

SIZE = 32


@pytest.fixture(scope="module")
def xl(tmp_path_factory):
    folder = save_tiny_xl_model(
        tmp_path_factory.mktemp("xl") / "model",
        block_out_channels=(8, 16, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=1,
        attention_head_dim=2,
        layers_per_block=2,
        # UNetControlNetXSModel builds its copy of the U-Net with this, whatever the U-Net has.
        norm_eps=1e-6,
    )
    return tiny_pipeline(folder, plugins=[mezzotint_controlnet])


@pytest.fixture
def run(xl):
    def run(*use, n=1, guidance=GUIDANCE, steps=STEPS, negative=None):
        before = fingerprint(xl)
        result = xl("a cat", negative=negative, use=use, steps=steps, guidance=guidance, seed=SEED, n=n)
        assert fingerprint(xl) == before
        return result.latents

    return run


def stock(xl, name, n=1, steps=STEPS, parts=None, **options):
    kept = inspect.signature(getattr(diffusers, name).__init__).parameters
    made = {k: v for k, v in stock_parts(xl).items() if k in kept}
    for encoder, second in xl.text_encoders.items():
        made[encoder] = second.model
        made[encoder.replace("text_encoder", "tokenizer")] = second.tokenizer
    if "add_watermarker" in kept:
        made["add_watermarker"] = False
    stock = getattr(diffusers, name)(**{**made, **(parts or {})})
    if hasattr(stock.unet, "base_conv_norm_out"):
        stock.unet.base_conv_norm_out.eps = 1e-6
    stock.set_progress_bar_config(disable=True)
    return stock(
        "a cat",
        num_images_per_prompt=n,
        num_inference_steps=steps,
        guidance_scale=GUIDANCE,
        height=SIZE,
        width=SIZE,
        generator=[torch.Generator("cpu").manual_seed(SEED + k) for k in range(n)],
        output_type="latent",
        **options,
    ).images


@pytest.fixture(scope="module")
def folders(xl, tmp_path_factory):
    """A random network of each kind for the U-Net."""
    torch.manual_seed(5)
    controlnet = ControlNetModel.from_unet(xl.unet, conditioning_embedding_out_channels=HINT)
    accepted = inspect.signature(ControlNetUnionModel.__init__).parameters
    union = ControlNetUnionModel(
        **{k: v for k, v in controlnet.config.items() if k in accepted and not k.startswith("_")},
        num_trans_channel=8,
        num_trans_head=2,
        num_proj_channel=8,
    )

    def xs(**options):
        config = ControlNetXSAdapter.from_unet(
            xl.unet,
            block_out_channels=[4, 8, 8],
            conditioning_embedding_out_channels=HINT,
            **options,
        ).config
        # A number that divides all channels: UNetControlNetXSModel takes the first layer's for all of a block.
        return ControlNetXSAdapter.from_config({**config, "max_norm_num_groups": 4})

    networks = {
        "controlnet": controlnet,
        "union": union,
        "xs": xs(),
        "xs-time": xs(learn_time_embedding=True, time_embedding_mix=0.4),
        "adapter": T2IAdapterModel(
            channels=[8, 16, 16, 16], num_res_blocks=1, downscale_factor=4, adapter_type="full_adapter_xl"
        ),
    }
    made = {}
    for name, network in networks.items():
        made[name] = tmp_path_factory.mktemp("xl") / name
        randomise(network).save_pretrained(made[name])
    return made


@pytest.mark.parametrize("negative", [None, "ugly"])
@pytest.mark.parametrize(("mode", "guess"), [("balanced", False), ("guess", True)])
def test_controlnet_of_sdxl_gets_the_added_conditions(mode, guess, negative, xl, run, folders, picture):
    expected = stock(
        xl,
        "StableDiffusionXLControlNetPipeline",
        n=2,
        parts={"controlnet": ControlNetModel.from_pretrained(folders["controlnet"])},
        image=picture,
        controlnet_conditioning_scale=0.7,
        guess_mode=guess,
        negative_prompt=negative,
    )
    use = ControlNet(folders["controlnet"], picture, 0.7, mode=mode)
    assert torch.equal(run(use, n=2, negative=negative), expected)


@pytest.mark.parametrize(
    ("image", "kinds"),
    [({"canny": noise_picture(1)}, [3]), ({"depth": noise_picture(1), "openpose": noise_picture(2)}, [1, 0])],
)
def test_controlnet_union_with_one_and_two_kinds(image, kinds, xl, run, folders):
    expected = stock(
        xl,
        "StableDiffusionXLControlNetUnionPipeline",
        parts={"controlnet": ControlNetUnionModel.from_pretrained(folders["union"])},
        control_image=list(image.values()),
        control_mode=kinds,
        controlnet_conditioning_scale=0.7,
    )
    assert torch.equal(run(ControlNetUnion(folders["union"], image, 0.7)), expected)


@pytest.mark.parametrize("kind", ["xs", "xs-time"])
def test_controlnet_xs(kind, xl, run, folders, picture):
    expected = stock(
        xl,
        "StableDiffusionXLControlNetXSPipeline",
        steps=4,
        parts={"controlnet": ControlNetXSAdapter.from_pretrained(folders[kind])},
        image=picture,
        controlnet_conditioning_scale=0.7,
        control_guidance_end=0.75,
    )
    assert torch.equal(run(ControlNetXS(folders[kind], picture, 0.7, end=0.75), steps=4), expected)


def test_adapter_of_sdxl_reaches_the_middle_block(xl, run, folders, picture):
    expected = stock(
        xl,
        "StableDiffusionXLAdapterPipeline",
        parts={"adapter": T2IAdapterModel.from_pretrained(folders["adapter"])},
        image=picture,
        adapter_conditioning_scale=0.7,
    )
    assert torch.equal(run(T2IAdapter(folders["adapter"], picture, 0.7)), expected)


def test_a_light_adapter_has_a_feature_more_than_channels(xl, picture, tmp_path):
    from mezzotint_controlnet.t2i_adapter import check_adapter

    light = T2IAdapterModel(
        channels=[8, 16], num_res_blocks=1, downscale_factor=2, adapter_type="light_adapter"
    )
    assert check_adapter(light, "light", xl) is light
    assert [len(feature[0]) for feature in light(torch.zeros(1, 3, 32, 32))] == [8, 16, 16]


def test_a_controlnet_of_sd1_is_refused_on_sdxl_before_the_first_step(
    xl, pipe, make_controlnet, folders, picture
):
    before = fingerprint(xl)
    with pytest.raises(ModelError, match="is for another U-Net"):
        xl(
            "a cat",
            use=[ControlNet(make_controlnet(), picture)],
            on_step=lambda progress: pytest.fail("a step"),
        )
    assert fingerprint(xl) == before
    with pytest.raises(ModelError, match="is for another U-Net"):
        pipe("a cat", use=[ControlNet(folders["controlnet"], picture)])


def test_a_network_of_the_variant_fp16_alone_opens(run, folders, picture, tmp_path):
    network = ControlNetModel.from_pretrained(folders["controlnet"])
    network.save_pretrained(tmp_path / "half", variant="fp16")
    assert torch.equal(
        run(ControlNet(tmp_path / "half", picture)), run(ControlNet(folders["controlnet"], picture))
    )


def test_all_kinds_at_once_leave_the_model_as_it_was(run, folders, picture):
    use = [
        ControlNet(folders["controlnet"], picture, 0.5),
        ControlNetUnion(folders["union"], {"canny": picture}, 0.5),
        ControlNetXS(folders["xs"], picture, 0.5),
        T2IAdapter(folders["adapter"], picture, 0.5),
    ]
    assert torch.equal(run(*use), run(*reversed(use)))
