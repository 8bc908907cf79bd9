"""IP-Adapter against diffusers' load_ip_adapter with the same weights, bit for bit; files that do not fit."""

from __future__ import annotations

import diffusers
import pytest
import torch
from diffusers.image_processor import IPAdapterMaskProcessor
from mezzotint.errors import ModelError, RequestError
from mezzotint.testing import fingerprint
from mezzotint_conditioning import IPAdapter
from PIL import Image
from safetensors.torch import load_file, save_file

STEPS = 3
SEED = 11


def picture(seed, size=(40, 30)):
    pixels = torch.randint(0, 256, (size[1], size[0], 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(pixels.to(torch.uint8).numpy())


def half_mask(left=True, size=(32, 32)):
    mask = Image.new("L", size)
    mask.paste(255, (0, 0, size[0] // 2, size[1]) if left else (size[0] // 2, 0, *size))
    return mask


def stock_latents(tiny_model, adapters, names, images, scales, masks=None, n=1, guidance=7.5, size=(32, 32)):
    stock = diffusers.StableDiffusionPipeline.from_pretrained(tiny_model, safety_checker=None)
    stock.set_progress_bar_config(disable=True)
    stock.load_ip_adapter(
        str(adapters),
        subfolder="",
        weight_name=[f"{name}.safetensors" for name in names],
        image_encoder_folder="image_encoder",
        local_files_only=True,
    )
    stock.set_ip_adapter_scale(scales)
    options = {}
    if masks is not None:
        processor = IPAdapterMaskProcessor()
        options["cross_attention_kwargs"] = {
            "ip_adapter_masks": [
                processor.preprocess(each, height=size[1], width=size[0]).permute(1, 0, 2, 3)
                for each in masks
            ]
        }
    return stock(
        "a cat",
        negative_prompt="ugly",
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        num_images_per_prompt=n,
        width=size[0],
        height=size[1],
        ip_adapter_image=images,
        generator=[torch.Generator("cpu").manual_seed(SEED + k) for k in range(n)],
        output_type="latent",
        **options,
    ).images


def our_latents(pipe, use, n=1, guidance=7.5, size=(32, 32)):
    return pipe(
        "a cat", negative="ugly", steps=STEPS, guidance=guidance, seed=SEED, n=n, size=size, use=use
    ).latents


@pytest.mark.parametrize("guidance", [1.0, 7.5])
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("kind", ["plain", "plus", "full"])
def test_one_image_is_diffusers_bit_for_bit(pipe, tiny_model, adapters, unchanged, kind, n, guidance):
    expected = stock_latents(tiny_model, adapters, [kind], [picture(1)], [0.6], n=n, guidance=guidance)
    adapter = IPAdapter(adapters / f"{kind}.safetensors", picture(1), scale=0.6)
    assert torch.equal(our_latents(pipe, [adapter], n, guidance), expected)


def test_two_adapters_and_several_images_are_diffusers_bit_for_bit(pipe, tiny_model, adapters, unchanged):
    images = [[picture(1), picture(2)], picture(3)]
    expected = stock_latents(tiny_model, adapters, ["plain", "plus"], images, [0.6, 0.3])
    use = [
        IPAdapter(adapters / "plain.safetensors", images[0], scale=0.6),
        IPAdapter(adapters / "plus.safetensors", images[1], scale=0.3),
    ]
    assert torch.equal(our_latents(pipe, use), expected)


@pytest.mark.parametrize("size", [(32, 32), (48, 24)])
def test_masks_are_diffusers_bit_for_bit(pipe, tiny_model, adapters, unchanged, size):
    masks = [half_mask(True, size), half_mask(False, size)]
    images = [picture(1), picture(2)]
    expected = stock_latents(
        tiny_model, adapters, ["plain"], [images], [[0.6, 0.6]], masks=[masks], size=size
    )
    adapter = IPAdapter(adapters / "plain.safetensors", images, scale=0.6, mask=masks)
    assert torch.equal(our_latents(pipe, [adapter], size=size), expected)


def test_a_black_mask_is_no_adapter(pipe, adapters):
    plain = our_latents(pipe, [])
    black = IPAdapter(adapters / "plain.safetensors", picture(1), mask=Image.new("L", (8, 8)))
    assert torch.equal(our_latents(pipe, [black]), plain)


def test_scale_zero_is_no_adapter_bit_for_bit(pipe, adapters, unchanged):
    adapter = IPAdapter(adapters / "plain.safetensors", picture(1), scale=0)
    assert torch.equal(our_latents(pipe, [adapter]), our_latents(pipe, []))


def test_scales_by_block_are_diffusers_bit_for_bit(pipe, tiny_model, adapters):
    expected = stock_latents(tiny_model, adapters, ["plain"], [picture(1)], {"up": {"block_1": 0.7}})
    adapter = IPAdapter(adapters / "plain.safetensors", picture(1), scales={"up.1": 0.7})
    assert torch.equal(our_latents(pipe, [adapter]), expected)
    assert not torch.equal(
        expected, our_latents(pipe, [IPAdapter(adapters / "plain.safetensors", picture(1))])
    )


def test_it_acts_in_its_part_of_the_steps(pipe, adapters):
    file = adapters / "plain.safetensors"
    whole = our_latents(pipe, [IPAdapter(file, picture(1))])
    halves = [IPAdapter(file, picture(1), end=0.4), IPAdapter(file, picture(1), start=0.4)]
    assert torch.equal(our_latents(pipe, halves), whole)
    assert not torch.equal(our_latents(pipe, halves[:1]), whole)


def test_it_leaves_nothing_behind_after_an_error(pipe, adapters):
    before = fingerprint(pipe)

    def stop(progress):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        pipe("a", steps=2, seed=1, use=[IPAdapter(adapters / "plain.safetensors", picture(1))], on_step=stop)
    assert fingerprint(pipe) == before


def write(adapters, tmp_path, change):
    tensors = load_file(adapters / "plain.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "changed.safetensors")
    return IPAdapter(tmp_path / "changed.safetensors", picture(1), encoder=adapters / "image_encoder")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update({"lora_unet_x": torch.zeros(1)}), "is no IP-Adapter: lora_unet_x is neither"),
        (lambda t: t.pop("ip_adapter.1.to_k_ip.weight"), r"lacks ip_adapter.1.to_k_ip.weight"),
        (
            lambda t: t.update({"ip_adapter.31.to_k_ip.weight": torch.zeros(1)}),
            "has ip_adapter.31.to_k_ip.weight: it is for a U-Net with",
        ),
        (
            lambda t: t.update({"ip_adapter.1.to_k_ip.weight": torch.zeros(7, 32)}),
            r"has shape \(7, 32\); down_blocks.* takes \(8, 32\)",
        ),
        (
            lambda t: t.update(
                {
                    "image_proj.proj.weight": torch.zeros(4 * 2048, 24),
                    "image_proj.proj.bias": torch.zeros(4 * 2048),
                    "image_proj.norm.weight": torch.zeros(2048),
                    "image_proj.norm.bias": torch.zeros(2048),
                }
            ),
            r"tokens of width 2048 \(Stable Diffusion XL\); this U-Net takes 32",
        ),
        (
            lambda t: t.pop("image_proj.proj.bias"),
            "the image projection does not fit: image_embeds.bias missing",
        ),
        (lambda t: t.update({"image_proj.norm.bias": torch.full((32,), torch.nan)}), "not finite"),
        (
            lambda t: t.update({"image_proj.proj.0.weight": torch.zeros(2, 2)}),
            "is an IP-Adapter FaceID, which needs embeddings of a face recogniser",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_one_sentence(pipe, adapters, tmp_path, unchanged, change, message):
    adapter = write(adapters, tmp_path, change)
    with pytest.raises(ModelError, match=message):
        our_latents(pipe, [adapter])


def test_an_encoder_of_another_adapter_is_refused(pipe, adapters, tmp_path):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=8,
        projection_dim=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        image_size=8,
        patch_size=4,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(tmp_path / "other")
    adapter = IPAdapter(adapters / "plain.safetensors", picture(1), encoder=tmp_path / "other")
    with pytest.raises(ModelError, match=r"takes image embeddings of width 24; .*other makes 16"):
        our_latents(pipe, [adapter])


def test_a_missing_encoder_and_a_text_encoder_in_its_place_are_named(pipe, adapters, tiny_model, tmp_path):
    alone = tmp_path / "alone.safetensors"
    save_file(load_file(adapters / "plain.safetensors"), alone)
    with pytest.raises(RequestError, match="there is no image encoder in .*say where it is with encoder="):
        our_latents(pipe, [IPAdapter(alone, picture(1))])
    with pytest.raises(ModelError, match="holds a model of type 'clip_text_model'; the image encoder is a"):
        our_latents(pipe, [IPAdapter(alone, picture(1), encoder=tiny_model / "text_encoder")])


def test_an_encoder_whose_configuration_is_nested_too_deeply_is_refused(pipe, adapters, tmp_path):
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(ModelError, match="config.json is missing or no model's; the image encoder is a"):
        our_latents(pipe, [IPAdapter(adapters / "plain.safetensors", picture(1), encoder=tmp_path)])


def test_pictures_are_checked_before_step_0(pipe, adapters, tmp_path):
    file = adapters / "plain.safetensors"
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(RequestError, match=r"image .*text.png is not a picture"):
        our_latents(pipe, [IPAdapter(file, tmp_path / "text.png")])
    frames = [Image.new("RGB", (4, 4), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(RequestError, match=r"is animated \(2 frames\); give one still picture"):
        our_latents(pipe, [IPAdapter(file, tmp_path / "moving.gif")])
    with pytest.raises(RequestError, match="mask .*absent.png is missing"):
        our_latents(pipe, [IPAdapter(file, picture(1), mask=tmp_path / "absent.png")])
    done = []
    late = IPAdapter(file, tmp_path / "text.png", start=0.6)
    with pytest.raises(RequestError, match="image .*text.png is not a picture"):
        pipe("a cat", steps=STEPS, seed=SEED, use=[late], on_step=done.append)
    assert not done
    with pytest.raises(
        RequestError, match="option 'image': give a file, a PIL image or an array of pixels, not int"
    ):
        IPAdapter(file, 3)
    with pytest.raises(RequestError, match="^ip-adapter: option 'mask': give a file, .* not int$"):
        IPAdapter(file, picture(1), mask=3)


def test_options_that_cannot_be_meant_are_refused(adapters):
    with pytest.raises(RequestError, match=r"start 0.5 is not before end 0.5, so it would never act"):
        IPAdapter(adapters / "plain.safetensors", picture(1), start=0.5, end=0.5)
    with pytest.raises(RequestError, match="option 'image': give at least one picture"):
        IPAdapter(adapters / "plain.safetensors", [])
    with pytest.raises(RequestError, match="option 'scales.mid': input should be a finite number"):
        IPAdapter(adapters / "plain.safetensors", picture(1), scales={"mid": float("nan")})
    with pytest.raises(RequestError, match="3 masks for 2 images; give one, or one each"):
        IPAdapter(adapters / "plain.safetensors", [picture(1)] * 2, mask=[half_mask()] * 3)
