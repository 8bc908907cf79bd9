"""Between the formats and back: the same bytes, the same change, and files that their own programs read."""

import copy
import itertools
import json

import pytest
import torch
from lora_oracle import CONV3, LINEAR, POINTWISE, changed, predict, random_lows, unchanged, write_kohya
from mezzotint_lora import Adapter, Delta, LoRA, LoRAError, Target, read_adapter, write_adapter
from mezzotint_lora.families import BY_NAME, names_of
from mezzotint_lora.names import Names
from mezzotint_lora.safetensors_file import read_header
from safetensors.torch import load_file, save_file

TEXT = "text_model.encoder.layers.0.mlp.fc1"
WORDS = {
    "ss_network_dim": "4",
    "ss_tag_frequency": json.dumps({"a": {"ghost ü": 3}}),
    "modelspec.title": "ghosts",
    "modelspec.architecture": "stable-diffusion-v1/lora",
    "ss_output_name": "ghosts",
}
FORMATS = ("kohya", "diffusers", "peft")


@pytest.fixture
def names(pipe):
    return {"unet": Names.of(pipe.unet), "text_encoder": Names.of(pipe.text_encoder)}


@pytest.fixture
def adapter(pipe):
    """Mixed ranks and alphas, DoRA, U-Net and text encoder."""
    generator = torch.Generator().manual_seed(1)
    deltas = {}
    for path, rank, alpha in ((LINEAR, 4, 1.0), (POINTWISE, 2, 3.5), (CONV3, 4, 0.3)):
        shape = pipe.unet.get_submodule(path).weight.shape
        ones = [1] * (len(shape) - 2)
        deltas[Target("unet", path)] = Delta(
            "lora",
            {
                "down": torch.randn(rank, *shape[1:], generator=generator),
                "up": torch.randn(shape[0], rank, *ones, generator=generator) * 0.1,
                "magnitude": torch.rand(shape[0], 1, *ones, generator=generator) + 0.5,
            },
            alpha,
        )
    fc1 = pipe.text_encoder.get_submodule(TEXT.removeprefix("text_model."))
    deltas[Target("text_encoder", TEXT)] = Delta(
        "lora", {"down": torch.ones(2, fc1.in_features) / 9, "up": torch.ones(fc1.out_features, 2) / 9}, 2.0
    )
    return Adapter(deltas, WORDS)


def written(folder, adapter, format, names, tag=""):
    path = folder / (f"{tag}{format}" if format == "peft" else f"{tag}{format}.safetensors")
    write_adapter(path, adapter, format, names=names)
    return path


def content(path):
    """Bytes by name of a file or folder."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(FORMATS, 2)))
def test_there_and_back_gives_the_same_bytes(tmp_path, adapter, names, first, second):
    one = written(tmp_path, adapter, first, names)
    two = written(tmp_path, read_adapter(one), second, names)
    again = written(tmp_path, read_adapter(two), first, names, "again-")
    assert content(again) == content(one)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_file_of_kohya_comes_back_byte_for_byte(tmp_path, adapter, names, dtype):
    """Also an alpha of 0.3 beside weights of half the width, which has no such number."""
    half = Adapter({t: d.map(lambda tensor: tensor.to(dtype)) for t, d in adapter.deltas.items()}, WORDS)
    one = written(tmp_path, half, "kohya", names)
    for format in FORMATS:
        middle = written(tmp_path, read_adapter(one), format, names, "middle-")
        assert content(written(tmp_path, read_adapter(middle), "kohya", names, "again-")) == content(one), (
            format
        )
    alphas = [d.alpha for d in read_adapter(one).deltas.values()]
    assert sorted(alphas) == pytest.approx([0.3, 1.0, 2.0, 3.5])


@pytest.mark.parametrize("kind", ["loha", "lokr", "lokr by 2", "lokr whole"])
def test_loha_and_lokr_go_between_kohya_and_peft(pipe, tmp_path, names, kind):
    draw = torch.randn
    tensors = {
        "loha": {"w1_a": draw(16, 2), "w1_b": draw(2, 32), "w2_a": draw(16, 2), "w2_b": draw(2, 32)},
        "lokr": {"w1": draw(4, 4), "w2_a": draw(4, 1), "w2_b": draw(1, 8)},
        "lokr by 2": {"w1": draw(2, 2), "w2_a": draw(8, 2), "w2_b": draw(2, 16)},
        "lokr whole": {"w1": draw(4, 4), "w2": draw(4, 8)},
    }[kind]
    # Of two whole factors LyCORIS keeps its rank there, and nobody scales by it.
    alpha = 64.0 if kind == "lokr whole" else 1.0
    kind = kind[:4]
    adapter = Adapter({Target("unet", LINEAR): Delta(kind, tensors, alpha)})
    one = written(tmp_path, adapter, "kohya", names)
    two = written(tmp_path, read_adapter(one), "peft", names)
    assert content(written(tmp_path, read_adapter(two), "kohya", names, "again-")) == content(one)
    with pytest.raises(
        LoRAError, match=f"is a Lo{kind[2].upper()}{kind[3]}, which diffusers files cannot hold"
    ):
        written(tmp_path, adapter, "diffusers", names)
    from peft import PeftModel

    with pipe.using(LoRA(one)):
        expected = predict(pipe.unet)
    theirs = PeftModel.from_pretrained(copy.deepcopy(pipe.unet), two / "unet")
    assert (predict(theirs) - expected).abs().max() < 1e-5


def test_whole_lokr_of_several_ranks_is_what_peft_makes_of_it(pipe, tmp_path):
    from peft import LoKrConfig, PeftModel, get_peft_model

    # The ranks are so high that both factors are whole, and only the configuration says them.
    config = LoKrConfig(
        r=64, alpha=16, target_modules=[LINEAR, POINTWISE], rank_pattern={LINEAR: 128}, init_weights=False
    )
    get_peft_model(copy.deepcopy(pipe.unet), config).save_pretrained(tmp_path / "lokr")
    assert all(
        name.endswith(("lokr_w1", "lokr_w2"))
        for name in load_file(tmp_path / "lokr" / "adapter_model.safetensors")
    )
    expected = predict(PeftModel.from_pretrained(copy.deepcopy(pipe.unet), tmp_path / "lokr"))
    with pipe.using(LoRA(tmp_path / "lokr")):
        assert torch.allclose(predict(pipe.unet), expected, atol=1e-5)
    assert not torch.allclose(predict(pipe.unet), expected, atol=1e-3)


@pytest.mark.parametrize("format", FORMATS)
def test_all_formats_are_the_same_change_with_the_same_words(pipe, tmp_path, adapter, names, format):
    path = written(tmp_path, adapter, format, names)
    assert {key: read_adapter(path).metadata[key] for key in WORDS} == WORDS
    with unchanged(pipe), pipe.using(LoRA(path)):
        result = predict(pipe.unet), pipe.text_encoder(torch.ones(1, 5, dtype=torch.long))[0]
    with pipe.using(LoRA(written(tmp_path, adapter, "kohya", names, "k-"))):
        expected = predict(pipe.unet), pipe.text_encoder(torch.ones(1, 5, dtype=torch.long))[0]
    assert all(map(torch.equal, result, expected))


def test_writing_twice_gives_the_same_bytes_in_any_order_of_words(tmp_path, adapter, names):
    one = written(tmp_path, adapter, "kohya", names)
    turned = Adapter(dict(reversed(adapter.deltas.items())), dict(reversed(adapter.metadata.items())))
    assert content(written(tmp_path, turned, "kohya", names, "b-"))["."] == content(one)["."]


def test_safetensors_reads_what_we_write(tmp_path, adapter, names):
    path = written(tmp_path, adapter, "kohya", names)
    tensors = load_file(path)
    assert f"lora_unet_{LINEAR.replace('.', '_')}.dora_scale" in tensors
    assert "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight" in tensors
    header, words = read_header(path)
    assert list(words) == sorted(words)
    assert header.keys() == tensors.keys()


def test_kohyas_hashes_are_those_of_its_own_code(tmp_path, adapter, names):
    """`precalculate_safetensors_hashes` of sd-scripts, in its own words."""
    import hashlib
    from io import BytesIO

    from safetensors.torch import save

    path = written(tmp_path, adapter, "kohya", names)
    words = read_adapter(path).metadata
    stream = BytesIO(save(load_file(path), {k: v for k, v in words.items() if k.startswith("ss_")}))
    length = int.from_bytes(stream.read(8), "little")
    stream.seek(length + 8)
    assert words["sshs_model_hash"] == hashlib.sha256(stream.read()).hexdigest()
    stream.seek(0x100000)
    assert words["sshs_legacy_hash"] == hashlib.sha256(stream.read(0x10000)).hexdigest()[:8]


def test_diffusers_and_peft_read_what_we_write(pipe, tmp_path, names):
    from diffusers import StableDiffusionPipeline
    from peft import PeftModel

    lows = random_lows(pipe.unet, [LINEAR, POINTWISE, CONV3], [1.0, 4.0, 0.5])
    path = write_kohya(tmp_path / "a.safetensors", lows)
    expected = changed(pipe.unet, {module: low.change for module, low in lows.items()})
    folder = written(tmp_path, read_adapter(path), "peft", names)
    theirs = PeftModel.from_pretrained(copy.deepcopy(pipe.unet), folder / "unet")
    assert (predict(theirs) - expected).abs().max() < 1e-5
    state, metadata = StableDiffusionPipeline.lora_state_dict(
        written(tmp_path, read_adapter(path), "diffusers", names), return_lora_metadata=True
    )[0::2]
    unet = copy.deepcopy(pipe.unet)
    StableDiffusionPipeline.load_lora_into_unet(state, None, unet, metadata=metadata)
    assert (predict(unet) - expected).abs().max() < 1e-5


def test_sdxl_is_written_in_the_original_names_and_read_back():
    """Every module of SDXL's U-Net and text encoders, through kohya's spelling."""
    names = names_of(BY_NAME["sdxl"])
    deep = "down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_out.0"
    assert names["unet"].sgm[deep] == "input_blocks.8.1.transformer_blocks.9.attn2.to_out.0"
    assert names["unet"].sgm["up_blocks.0.upsamplers.0.conv"] == "output_blocks.2.2.conv"
    assert names["unet"].sgm["down_blocks.0.downsamplers.0.conv"] == "input_blocks.3.0.op"
    assert names["unet"].sgm["mid_block.resnets.1.time_emb_proj"] == "middle_block.2.emb_layers.1"
    assert names["unet"].sgm["up_blocks.2.resnets.2.conv_shortcut"] == "output_blocks.8.0.skip_connection"
    for path, original in names["unet"].sgm.items():
        assert names["unet"].spellings[original.replace(".", "_")] == path
    assert names["text_encoder_2"].spellings["text_projection"] == "text_projection"


def test_an_sdxl_file_goes_to_diffusers_and_back(tmp_path):
    stem = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    tensors = {f"{stem}.lora_down.weight": torch.ones(2, 2048), f"{stem}.lora_up.weight": torch.ones(640, 2)}
    for number, width, inner in ((1, 768, 3072), (2, 1280, 5120)):
        text = f"lora_te{number}_text_model_encoder_layers_0_mlp_fc1"
        tensors |= {
            f"{text}.lora_down.weight": torch.ones(2, width),
            f"{text}.lora_up.weight": torch.ones(inner, 2),
        }
    tensors |= {f"{key.partition('.')[0]}.alpha": torch.tensor(1.0) for key in list(tensors)}
    save_file(tensors, tmp_path / "a.safetensors")
    write_adapter(tmp_path / "b.safetensors", read_adapter(tmp_path / "a.safetensors"), "diffusers")
    keys = load_file(tmp_path / "b.safetensors").keys()
    assert "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight" in keys
    assert "text_encoder_2.text_model.encoder.layers.0.mlp.fc1.lora_B.weight" in keys
    write_adapter(tmp_path / "c.safetensors", read_adapter(tmp_path / "b.safetensors"), "kohya")
    again = load_file(tmp_path / "c.safetensors")
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[key], tensors[key]) for key in tensors)


def test_names_that_no_known_family_has_need_a_model(tmp_path, adapter):
    odd = Adapter({Target("unet", "down_blocks_9_nowhere"): next(iter(adapter.deltas.values()))})
    with pytest.raises(LoRAError, match="cannot be told apart.*--model FOLDER"):
        write_adapter(tmp_path / "a.safetensors", odd, "diffusers")


def test_kronecker_factors_that_peft_cannot_make_are_named(tmp_path, names):
    other = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    adapter = Adapter(
        {
            Target("unet", LINEAR): Delta("lokr", {"w1": torch.ones(2, 2), "w2": torch.ones(8, 16)}),
            Target("unet", other): Delta("lokr", {"w1": torch.ones(4, 4), "w2": torch.ones(4, 4)}),
        }
    )
    with pytest.raises(LoRAError, match="split by different factors, which peft files cannot hold"):
        written(tmp_path, adapter, "peft", names)


def test_what_a_format_cannot_hold_is_named(tmp_path, names):
    full = Adapter({Target("unet", CONV3): Delta("full", {"weight": torch.ones(8, 8, 3, 3)})})
    for format in ("diffusers", "peft"):
        with pytest.raises(
            LoRAError, match=f"{CONV3} is a full difference, which {format} files cannot hold"
        ):
            write_adapter(tmp_path / "a", full, format, names=names)
