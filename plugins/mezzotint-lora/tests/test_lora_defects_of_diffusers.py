"""The defects that users of diffusers meet, each against the definition; where diffusers can be asked, it is wrong.

If one of these fails at `not right(stock…)`, diffusers has repaired it: take the words out of docs/lora.md too.
"""

import copy

import pytest
import torch
from lora_oracle import (
    CONV3,
    LINEAR,
    OTHERS,
    RANK,
    changed,
    predict,
    random_lows,
    unchanged,
    write_diffusers,
    write_kohya,
)
from mezzotint_lora import LoRA, LoRAError, read_adapter, write_adapter
from safetensors.torch import load_file, save_file

ATTENTION = [LINEAR, *OTHERS["linear"]]


def with_lora(pipe, path, *args, **options):
    with pipe.using(LoRA(path, *args, **options)):
        return predict(pipe.unet)


def wholly(pipe, lows, weight=1.0):
    return changed(pipe.unet, {module: low.change for module, low in lows.items()}, weight)


def close(a, b):
    return bool((a - b).abs().max() < 1e-5)


@pytest.mark.filterwarnings("ignore")
def test_1_every_module_has_its_own_alpha(pipe, stock, tmp_path):
    lows = random_lows(pipe.unet, ATTENTION, [1.0, 2.0, 4.0])
    path = write_kohya(tmp_path / "a.safetensors", lows)
    right = wholly(pipe, lows)
    stock.load_lora_weights(path)
    assert not close(predict(stock.unet), right)
    assert close(with_lora(pipe, path), right)


@pytest.mark.filterwarnings("ignore")
def test_2_a_module_without_alpha_has_alpha_equal_to_its_rank(pipe, stock, tmp_path):
    lows = random_lows(pipe.unet, ATTENTION, [1.0, 1.0, None])
    path = write_kohya(tmp_path / "a.safetensors", lows)
    right = wholly(pipe, lows)
    stock.load_lora_weights(path)
    assert not close(predict(stock.unet), right)
    assert close(with_lora(pipe, path), right)


def test_3_a_run_at_weight_zero_changes_no_other_run(pipe, stock, tmp_path):
    lows = random_lows(pipe.unet, ATTENTION, [None] * 3)
    path = write_diffusers(tmp_path / "a.safetensors", lows)
    lora = LoRA(path, 0.3)
    before = pipe("a", steps=1, seed=1, use=lora).latents
    pipe("a", steps=1, seed=1, use=LoRA(path, 0))
    assert torch.equal(pipe("a", steps=1, seed=1, use=lora).latents, before)

    stock.set_progress_bar_config(disable=True)
    stock.load_lora_weights(path, adapter_name="a")
    stock.set_adapters("a", 0.3)
    first = predict(stock.unet)
    stock("a", num_inference_steps=1, output_type="latent", cross_attention_kwargs={"scale": 0})
    assert not torch.equal(predict(stock.unet), first)


def test_4_fusing_changes_no_weight_of_the_adapter(pipe, stock, tmp_path):
    lows = random_lows(pipe.unet, ATTENTION, [None] * 3)
    path = write_diffusers(tmp_path / "a.safetensors", lows)
    before = with_lora(pipe, path, 1.0)
    with_lora(pipe, path, 0.7, fuse=True)
    assert torch.equal(with_lora(pipe, path, 1.0), before)

    stock.load_lora_weights(path, adapter_name="a")
    first = predict(stock.unet)
    stock.fuse_lora(lora_scale=0.7)
    stock.unfuse_lora()
    assert not close(predict(stock.unet), first)


def test_5_fusing_and_taking_off_is_exact_in_bfloat16(pipe, stock, tmp_path):
    lows = random_lows(pipe.unet, ATTENTION, [None] * 3)
    path = write_diffusers(tmp_path / "a.safetensors", lows)
    kept = [(parameter, parameter.data) for parameter in pipe.unet.parameters()]
    try:
        for parameter, data in kept:
            parameter.data = data.bfloat16()
        with unchanged(pipe):
            with_lora(pipe, path, 0.7, fuse=True)
    finally:
        for parameter, data in kept:
            parameter.data = data

    stock.unet.to(torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in stock.unet.state_dict().items()}
    stock.load_lora_weights(path)
    stock.fuse_lora()
    stock.unfuse_lora()
    stock.unload_lora_weights()
    assert not all(torch.equal(tensor, before[name]) for name, tensor in stock.unet.state_dict().items())


def test_6_export_keeps_alpha_dora_and_the_text_encoders_prefix(pipe, tmp_path):
    from diffusers.utils import convert_state_dict_to_kohya

    lows = random_lows(pipe.unet, [LINEAR, CONV3], [1.0, 2.0])
    path = write_kohya(tmp_path / "a.safetensors", lows)
    tensors = load_file(path)
    tensors[f"lora_unet_{LINEAR.replace('.', '_')}.dora_scale"] = torch.ones(16, 1)
    text = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    tensors |= {f"{text}.lora_down.weight": torch.ones(2, 32), f"{text}.lora_up.weight": torch.ones(37, 2)}
    tensors[f"{text}.alpha"] = torch.tensor(1.0)
    save_file(tensors, path)
    from mezzotint_lora.names import Names

    names = {"unet": Names.of(pipe.unet), "text_encoder": Names.of(pipe.text_encoder)}
    write_adapter(tmp_path / "b.safetensors", read_adapter(path), "diffusers", names=names)
    write_adapter(tmp_path / "c.safetensors", read_adapter(tmp_path / "b.safetensors"), "kohya")
    exported = load_file(tmp_path / "c.safetensors")
    assert exported.keys() == tensors.keys()
    assert all(torch.equal(exported[key], tensors[key]) for key in tensors)

    theirs = convert_state_dict_to_kohya(load_file(tmp_path / "b.safetensors"))
    assert not any(key.startswith("lora_te_") for key in theirs)
    assert any("lora_magnitude_vector" in key for key in theirs)
    alphas = [float(value) for key, value in theirs.items() if key.endswith("alpha")]
    assert 1.0 not in alphas


def test_7_a_file_with_a_wrong_prefix_is_no_silent_no_op(pipe, stock, tmp_path):
    lows = random_lows(pipe.unet, ATTENTION, [None] * 3)
    tensors = load_file(write_diffusers(tmp_path / "a.safetensors", lows))
    save_file(
        {key.replace("unet.", "model."): value for key, value in tensors.items()}, tmp_path / "b.safetensors"
    )
    plain = predict(stock.unet)
    stock.load_lora_weights(tmp_path / "b.safetensors")
    assert torch.equal(predict(stock.unet), plain)
    with pytest.raises(LoRAError, match="is no LoRA file|matches no module"):
        with_lora(pipe, tmp_path / "b.safetensors")


def test_7_keys_of_both_spellings_are_all_used_or_named(pipe, tmp_path):
    one = write_kohya(tmp_path / "a.safetensors", random_lows(pipe.unet, [LINEAR], [2.0]))
    from lora_oracle import write_sgm

    lows = random_lows(pipe.unet, [OTHERS["linear"][0]], [1.0], seed=1)
    other = write_sgm(tmp_path / "b.safetensors", lows)
    save_file({**load_file(one), **load_file(other)}, tmp_path / "c.safetensors")
    both = {**random_lows(pipe.unet, [LINEAR], [2.0]), **lows}
    assert close(with_lora(pipe, tmp_path / "c.safetensors"), wholly(pipe, both))


def test_loha_is_read(pipe, stock, tmp_path):
    stem = f"lora_unet_{LINEAR.replace('.', '_')}"
    tensors = {f"{stem}.hada_w{i}_a": torch.ones(16, 2) for i in (1, 2)}
    tensors |= {f"{stem}.hada_w{i}_b": torch.ones(2, 32) for i in (1, 2)}
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="."):
        stock.load_lora_weights(tmp_path / "a.safetensors")
    assert close(
        with_lora(pipe, tmp_path / "a.safetensors"), changed(pipe.unet, {LINEAR: torch.full((16, 32), 4.0)})
    )


@pytest.mark.parametrize("alphas", [(None,) * 3, (2.0,) * 3], ids=["missing", "equal"])
def test_where_diffusers_is_right_the_latents_agree(pipe, stock, tmp_path, alphas):
    """A file of its own layout with one alpha, whole runs, alone and two at once."""
    paths = [
        write_diffusers(tmp_path / f"{seed}.safetensors", random_lows(pipe.unet, ATTENTION, alphas, seed))
        for seed in (0, 1)
    ]
    ours = pipe(
        "a cat", steps=3, seed=4, guidance=5.0, use=[LoRA(paths[0], 0.7), LoRA(paths[1], -0.4)]
    ).latents
    stock.set_progress_bar_config(disable=True)
    for path, name in zip(paths, "ab", strict=True):
        stock.load_lora_weights(path, adapter_name=name)
    stock.set_adapters(["a", "b"], [0.7, -0.4])
    theirs = stock(
        "a cat",
        num_inference_steps=3,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(4),
        output_type="latent",
    ).images
    assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_rank_stabilised_loras_have_alpha_over_the_root_of_the_rank(pipe, tmp_path):
    from peft import LoraConfig, PeftModel, get_peft_model

    config = LoraConfig(
        r=RANK, lora_alpha=3, target_modules=[LINEAR, CONV3], use_rslora=True, init_lora_weights=False
    )
    theirs = get_peft_model(copy.deepcopy(pipe.unet), config)
    theirs.save_pretrained(tmp_path / "rs")
    expected = predict(theirs)
    assert close(with_lora(pipe, tmp_path / "rs"), expected)
    # Read and written again, peft itself makes the same of it.
    write_adapter(tmp_path / "again", read_adapter(tmp_path / "rs"), "peft")
    again = PeftModel.from_pretrained(copy.deepcopy(pipe.unet), tmp_path / "again" / "unet")
    assert close(predict(again), expected)
