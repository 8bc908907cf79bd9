"""Every key is accounted for: applied, skipped for a reason, or unknown; and nothing is a silent no-op."""

import copy

import pytest
import torch
from lora_oracle import CONV3, LINEAR, predict, random_lows, unchanged, write_diffusers, write_kohya
from mezzotint_lora import LoRA, LoRAError
from mezzotint_lora.files import read_adapter
from mezzotint_lora.fitting import fit
from peft import IA3Config, OFTConfig, get_peft_model
from safetensors.torch import load_file, save_file

STEM = f"lora_unet_{LINEAR.replace('.', '_')}"


@pytest.fixture
def good(pipe, tmp_path):
    return write_kohya(tmp_path / "good.safetensors", random_lows(pipe.unet, [LINEAR, CONV3], [2.0, 2.0]))


def broken(good, change):
    """The good file with its tensors changed."""
    tensors = load_file(good)
    change(tensors)
    path = good.with_name("broken.safetensors")
    save_file(tensors, path)
    return path


def attach(pipe, path, **options):
    with pipe.using(LoRA(path, **options)):
        return predict(pipe.unet)


def test_a_good_file_is_applied_key_by_key(pipe, good):
    report = LoRA(good).report(pipe)
    assert report.applied.keys() == load_file(good).keys()
    assert report.applied[f"{STEM}.alpha"] == f"unet.{LINEAR}"
    assert not report.skipped
    assert not report.unknown
    assert report.fits


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda t: t.update({"lora_unet_mid_block_nowhere.lora_down.weight": torch.ones(1)}),
            "stands without up",
        ),
        (lambda t: t.update({"first_stage_model.x": torch.ones(1)}), "begins with none of"),
        (lambda t: t.update({f"{STEM}.oft_blocks": torch.ones(1)}), "OFT, which is not supported"),
        (lambda t: t.update({f"{STEM}.alpha": torch.ones(2)}), "alpha must be one number"),
        (lambda t: t.update({f"{STEM}.lora_up.weight": torch.ones(16, 3)}), "factors do not fit each other"),
        (lambda t: t.update({f"{STEM}.lora_up.weight": torch.ones(17, 4)}), "the weight is (16, 32)"),
        (lambda t: t.update({f"{STEM}.hada_w1_a": torch.ones(1)}), "loha and lora at once"),
        (lambda t: t.pop(f"{STEM}.lora_up.weight"), "stands without up"),
    ],
    ids=["half a module", "another prefix", "oft", "alpha of two", "factors", "shape", "two kinds", "no up"],
)
def test_a_key_that_does_not_fit_is_named(pipe, good, change, sentence):
    path = broken(good, change)
    with unchanged(pipe), pytest.raises(LoRAError) as caught:
        attach(pipe, path)
    assert sentence in str(caught.value)
    assert "strict=False" in str(caught.value)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (OFTConfig(target_modules=["to_q"], oft_block_size=0, r=2), "OFT"),
        (IA3Config(target_modules=["to_q"], feedforward_modules=[]), "IA³"),
    ],
)
def test_adapters_of_peft_that_are_no_lora_are_named(config, kind, pipe, tmp_path):
    unet = copy.deepcopy(pipe.unet)
    get_peft_model(unet, config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(LoRAError, match=f"{kind}, which is not supported"):
        attach(pipe, tmp_path / "adapter")


def test_a_lora_of_an_embedding_is_refused(pipe, good, tmp_path):
    count, width = pipe.text_encoder.get_input_embeddings().weight.shape
    stem = "lora_te_text_model_embeddings_token_embedding"
    tensors = {
        f"{stem}.lora_down.weight": torch.ones(2, width),
        f"{stem}.lora_up.weight": torch.ones(count, 2),
    }
    save_file(load_file(good) | tensors, tmp_path / "a.safetensors")
    with pytest.raises(LoRAError, match="it is an embedding, of which no change is supported"):
        attach(pipe, tmp_path / "a.safetensors")


def test_ia3_of_lycoris_is_named(pipe, tmp_path):
    tensors = {f"{STEM}.weight": torch.ones(32, 1), f"{STEM}.on_input": torch.tensor(0)}
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(LoRAError, match=r"a\.safetensors is of IA³, which is not supported"):
        attach(pipe, tmp_path / "a.safetensors")


def test_the_report_of_a_file_that_does_not_fit_is_there_to_read(pipe, good):
    path = broken(good, lambda tensors: tensors.update({f"{STEM}.oft_blocks": torch.ones(1)}))
    report = LoRA(path).report(pipe)
    assert not report.fits
    assert list(report.unknown) == [f"{STEM}.oft_blocks"]
    assert "6 keys applied, 0 skipped, 1 unknown" in str(report)


def test_an_unknown_module_is_named_with_the_nearest(pipe, good):
    def rename(tensors):
        for key in [key for key in tensors if key.startswith(STEM)]:
            tensors[key.replace("attn2_to_k", "attn2_to_kk")] = tensors.pop(key)

    with pytest.raises(LoRAError, match="attn2_to_kk.*the nearest is .*attn2.to_k"):
        attach(pipe, broken(good, rename))


def test_a_module_that_is_there_in_two_spellings_is_an_error(pipe, good):
    def twice(tensors):
        for key in [key for key in tensors if key.startswith(STEM)]:
            tensors[key.replace("mid_block_attentions_0", "middle_block_1")] = tensors[key].clone()

    with pytest.raises(LoRAError, match="is there twice: .* means the same module"):
        attach(pipe, broken(good, twice))


def test_a_tensor_that_is_there_under_two_names_is_an_error(pipe, tmp_path):
    path = write_diffusers(tmp_path / "a.safetensors", random_lows(pipe.unet, [LINEAR], [None]))
    tensors = load_file(path)
    tensors[f"unet.{LINEAR}.lora_A.weight"] = tensors[f"unet.{LINEAR}.lora.down.weight"].clone()
    save_file(tensors, path)
    with pytest.raises(LoRAError, match="is there twice: .* means the same tensor"):
        attach(pipe, path)


def test_without_strict_the_rest_is_used_and_the_report_says_what_not(pipe, good):
    path = broken(good, lambda tensors: tensors.update({f"{STEM}.lora_up.weight": torch.ones(17, 4)}))
    with unchanged(pipe):
        result = pipe("a", steps=1, seed=1, use=LoRA(path, strict=False))
    report = result.outputs["lora"]["report"]
    assert set(report.unknown) == {f"{STEM}.alpha", f"{STEM}.lora_down.weight", f"{STEM}.lora_up.weight"}
    assert {report.applied[key] for key in report.applied} == {f"unet.{CONV3}"}


@pytest.mark.parametrize("strict", [True, False])
def test_a_file_that_matches_nothing_is_an_error_even_when_not_strict(pipe, tmp_path, strict):
    lows = random_lows(pipe.unet, [LINEAR], [2.0])
    path = write_kohya(tmp_path / "a.safetensors", lows, prefix="lora_unet_x_")
    with pytest.raises(LoRAError, match="matches no module"):
        attach(pipe, path, strict=strict)


def test_what_has_weight_zero_is_skipped_and_says_why(pipe, good):
    report = LoRA(good, blocks={"mid": 0}).report(pipe)
    assert set(report.skipped) == {
        f"{STEM}.{name}" for name in ("alpha", "lora_down.weight", "lora_up.weight")
    }
    assert "weight is 0" in report.skipped[f"{STEM}.alpha"]


def sd(width, second_encoder=False):
    """Keys of a LoRA for a model with texts of that width."""
    stem = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    tensors = {f"{stem}.lora_down.weight": torch.ones(2, width), f"{stem}.lora_up.weight": torch.ones(640, 2)}
    if second_encoder:
        other = "lora_te2_text_model_encoder_layers_0_mlp_fc1"
        tensors |= {
            f"{other}.lora_down.weight": torch.ones(2, 1280),
            f"{other}.lora_up.weight": torch.ones(5120, 2),
        }
    return tensors


@pytest.mark.parametrize(
    ("tensors", "family"),
    [
        (sd(768), "Stable Diffusion 1.x"),
        (sd(1024), "Stable Diffusion 2.x"),
        (sd(2048, True), "Stable Diffusion XL"),
        (
            {
                "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": torch.ones(1, 2),
                "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": torch.ones(2, 1),
            },
            "Flux",
        ),
    ],
    ids=["sd1", "sd2", "sdxl", "flux"],
)
def test_a_file_for_another_family_says_so(pipe, tmp_path, tensors, family):
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(LoRAError, match=f"is a LoRA for {family}.*the model takes texts of 32"):
        attach(pipe, tmp_path / "other.safetensors")


@pytest.mark.parametrize("strict", [True, False])
def test_a_file_for_another_family_that_fits_in_part_is_an_error_even_when_not_strict(pipe, good, strict):
    path = broken(good, lambda tensors: tensors.update(sd(768)))
    with unchanged(pipe), pytest.raises(LoRAError, match=r"is a LoRA for Stable Diffusion 1\.x"):
        attach(pipe, path, strict=strict)


def test_a_header_that_names_another_family_does_not_hide_the_key_that_does_not_fit(pipe, good):
    tensors = load_file(good)
    tensors[f"{STEM}.oft_blocks"] = torch.ones(1)
    save_file(tensors, good, metadata={"ss_base_model_version": "sdxl_base_v1-0"})
    with pytest.raises(LoRAError, match="oft_blocks is OFT, which is not supported"):
        attach(pipe, good)


def test_sdxl_on_sd1_and_sd1_on_sdxl_name_both(tmp_path):
    from diffusers import UNet2DConditionModel
    from mezzotint_lora.families import BY_NAME

    save_file(sd(2048), tmp_path / "xl.safetensors")
    save_file(sd(768), tmp_path / "sd1.safetensors")
    for file, model, words in (
        ("xl", "sd1", ("LoRA for Stable Diffusion XL", "the model is Stable Diffusion 1.x")),
        ("sd1", "sdxl", ("LoRA for Stable Diffusion 1.x", "the model is Stable Diffusion XL")),
    ):
        with torch.device("meta"):
            unet = UNet2DConditionModel(**BY_NAME[model].unet)
        problem = fit(read_adapter(tmp_path / f"{file}.safetensors"), {"unet": unet}).report.problem
        assert all(part in problem for part in words), problem
