"""Two LoRAs, two ControlNets, a T2I-Adapter, an IP-Adapter and a native scheduler in one run.

The oracle is the same sum done by hand: weights changed by ΔW = up @ down · alpha / rank, residuals added up,
diffusers' own IP-Adapter processors, all on a raw U-Net in a loop of ten lines.
"""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import mezzotint
import mezzotint_conditioning
import mezzotint_controlnet
import mezzotint_lora
import mezzotint_schedulers
import numpy as np
import pytest
import torch
from diffusers import ControlNetModel
from diffusers import T2IAdapter as T2IAdapterModel
from mezzotint.testing import fingerprint, tiny_pipeline
from mezzotint_conditioning import IPAdapter
from mezzotint_controlnet import ControlNet, T2IAdapter
from mezzotint_lora import LoRA
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

STEPS, GUIDANCE, SEED, PROMPT = 4, 5.0, 3, "a cat"
RANK, ALPHA = 2, 1.0
IMAGE_WIDTH = 8


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> mezzotint.Pipeline:
    plugins = [mezzotint_lora, mezzotint_controlnet, mezzotint_conditioning, mezzotint_schedulers]
    return tiny_pipeline(tmp_path_factory.mktemp("tiny") / "model", plugins=plugins)


@pytest.fixture(scope="module")
def files(pipe: mezzotint.Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every file that the stack needs, all random."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    for name in ("ink", "paper"):
        save_file(random_lora(pipe.unet), folder / f"{name}.safetensors")
    for name in ("edges", "depth"):
        network = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(4, 8))
        for parameter in network.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
        network.save_pretrained(folder / name)
    T2IAdapterModel(channels=[8, 16], num_res_blocks=1, downscale_factor=2).save_pretrained(folder / "sketch")
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=37,
        projection_dim=IMAGE_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
    )
    CLIPVisionModelWithProjection(vision).save_pretrained(folder / "image_encoder")
    save_file(random_ip_adapter(pipe.unet), folder / "ip.safetensors")
    return folder


def random_lora(unet: torch.nn.Module) -> dict[str, torch.Tensor]:
    """In kohya's layout, for every linear layer of the attentions."""
    tensors = {}
    for path, module in unet.named_modules():
        if isinstance(module, torch.nn.Linear) and "transformer_blocks" in path:
            key = f"lora_unet_{path.replace('.', '_')}"
            tensors[f"{key}.lora_down.weight"] = 0.3 * torch.randn(RANK, module.in_features)
            tensors[f"{key}.lora_up.weight"] = 0.3 * torch.randn(module.out_features, RANK)
            tensors[f"{key}.alpha"] = torch.tensor(ALPHA)
    return tensors


def random_ip_adapter(unet: Any) -> dict[str, torch.Tensor]:
    width = unet.config.cross_attention_dim
    tensors = {
        "image_proj.proj.weight": torch.randn(4 * width, IMAGE_WIDTH),
        "image_proj.proj.bias": torch.randn(4 * width),
        "image_proj.norm.weight": torch.randn(width),
        "image_proj.norm.bias": torch.randn(width),
    }
    for number, name in enumerate(unet.attn_processors):
        if "attn2" in name:
            out = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
            for part in "kv":
                tensors[f"ip_adapter.{number}.to_{part}_ip.weight"] = torch.randn(out, width)
    return tensors


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def the_stack(files: Path) -> list[mezzotint.Extension]:
    return [
        LoRA(files / "ink.safetensors", weight=0.8),
        LoRA(files / "paper.safetensors", weight=-0.4),
        ControlNet(files / "edges", picture(1), 0.7, end=0.5),
        ControlNet(files / "depth", picture(2), 0.5),
        T2IAdapter(files / "sketch", picture(3), 0.6),
        IPAdapter(files / "ip.safetensors", picture(4), scale=0.5),
    ]


@torch.no_grad()
def by_hand(pipe: mezzotint.Pipeline, files: Path) -> torch.Tensor:
    """Latents of the same run without mezzotint's extensions."""
    unet = copy.deepcopy(pipe.unet)
    for name, weight in (("ink", 0.8), ("paper", -0.4)):
        add_lora(unet, load_file(files / f"{name}.safetensors"), weight)
    image_embeds = install_ip_adapter(unet, files, picture(4), scale=0.5)
    nets = [ControlNetModel.from_pretrained(files / name) for name in ("edges", "depth")]
    hints = [to_tensor(picture(1)), to_tensor(picture(2))]
    adapter = T2IAdapterModel.from_pretrained(files / "sketch")
    features = [0.6 * feature.repeat(2, 1, 1, 1) for feature in adapter(to_tensor(picture(3)))]

    embeddings = torch.cat([encode(pipe, ""), encode(pipe, PROMPT)])
    scheduler = mezzotint.scheduler("dpmpp-2m", spacing="karras", like=pipe.scheduler)
    scheduler.set_timesteps(STEPS)
    latents = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(SEED))
    latents = latents * scheduler.init_noise_sigma
    for i, timestep in enumerate(scheduler.timesteps):
        sample = scheduler.scale_model_input(torch.cat([latents] * 2), timestep)
        scales = [0.7 if (i + 1) / STEPS <= 0.5 else 0.0, 0.5]
        sides = [
            net(sample, timestep, embeddings, hint.repeat(2, 1, 1, 1), scale, return_dict=False)
            for net, hint, scale in zip(nets, hints, scales, strict=True)
        ]
        prediction = unet(
            sample,
            timestep,
            embeddings,
            down_block_additional_residuals=[a + b for a, b in zip(sides[0][0], sides[1][0], strict=True)],
            mid_block_additional_residual=sides[0][1] + sides[1][1],
            down_intrablock_additional_residuals=[feature.clone() for feature in features],
            added_cond_kwargs={"image_embeds": image_embeds},
        ).sample
        negative, positive = prediction.chunk(2)
        guided = negative + GUIDANCE * (positive - negative)
        latents = scheduler.step(guided, timestep, latents).prev_sample
    return latents


def add_lora(unet: torch.nn.Module, tensors: dict[str, torch.Tensor], weight: float) -> None:
    for path, module in unet.named_modules():
        key = f"lora_unet_{path.replace('.', '_')}"
        if f"{key}.alpha" in tensors:
            delta = tensors[f"{key}.lora_up.weight"] @ tensors[f"{key}.lora_down.weight"]
            module.weight.data += weight * ALPHA / RANK * delta


def install_ip_adapter(unet: Any, files: Path, image: Image.Image, scale: float) -> list[torch.Tensor]:
    """diffusers' processors on the U-Net; the image's embedding, (2, 1, width), zeros in the negative pass."""
    from transformers import CLIPImageProcessorPil

    tensors = load_file(files / "ip.safetensors")
    parts = {
        part: {key.removeprefix(f"{part}."): t for key, t in tensors.items() if key.startswith(f"{part}.")}
        for part in ("image_proj", "ip_adapter")
    }
    unet._load_ip_adapter_weights([parts])
    for processor in unet.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [scale]
    encoder = CLIPVisionModelWithProjection.from_pretrained(files / "image_encoder").eval()
    size = encoder.config.image_size
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    embedded = encoder(processor(image, return_tensors="pt").pixel_values).image_embeds[:, None]
    return [torch.cat([torch.zeros_like(embedded), embedded])]


def to_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image).astype(np.float32) / 255).permute(2, 0, 1)[None]


def encode(pipe: mezzotint.Pipeline, text: str) -> torch.Tensor:
    ids = pipe.tokenizer(
        [text], padding="max_length", max_length=pipe.tokenizer.model_max_length, return_tensors="pt"
    ).input_ids
    return pipe.text_encoder(ids)[0]


def test_the_whole_stack_equals_the_sum_by_hand(pipe, files):
    before = fingerprint(pipe)
    options = {
        "steps": STEPS,
        "guidance": GUIDANCE,
        "seed": SEED,
        "scheduler": "dpmpp-2m",
        "spacing": "karras",
    }
    expected = by_hand(pipe, files)
    latents = pipe(PROMPT, use=the_stack(files), **options).latents
    # Not bit for bit: a LoRA beside its layer and one added into the weights round differently.
    torch.testing.assert_close(latents, expected, atol=1e-4, rtol=1e-4)
    assert (latents - pipe(PROMPT, **options).latents).abs().max() > 0.1
    assert fingerprint(pipe) == before


def test_each_part_of_the_stack_has_an_effect(pipe, files):
    stack = the_stack(files)
    whole = pipe(PROMPT, use=stack, steps=2, seed=SEED).latents
    for left_out in stack:
        rest = [each for each in stack if each is not left_out]
        assert not torch.equal(pipe(PROMPT, use=rest, steps=2, seed=SEED).latents, whole), left_out


def test_every_order_of_use_and_of_leaving_restores_the_model(pipe, files):
    before = fingerprint(pipe)
    kinds = [the_stack(files)[k] for k in (0, 2, 4, 5)]
    for order in itertools.permutations(kinds):
        pipe(PROMPT, steps=1, seed=SEED, use=order)
        assert fingerprint(pipe) == before
    for order in itertools.permutations(kinds):
        with pipe.using(*order):
            pipe(PROMPT, steps=1, seed=SEED)
        assert fingerprint(pipe) == before
