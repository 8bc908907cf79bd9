"""Files of strangers: one clear sentence each, nothing executed, nothing left behind."""

import json
import os
import pickle
import struct
from contextlib import contextmanager, suppress

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lora_oracle import CONV3, LINEAR, random_lows, unchanged, write_kohya, write_peft, write_peft_names
from mezzotint_lora import Adapter, Delta, LoRA, LoRAError, Target, read_adapter, write_adapter
from mezzotint_lora.combining import resize
from mezzotint_lora.decomposing import Keep
from mezzotint_lora.describing import describe
from safetensors.torch import load_file, save_file
from test_lora_removal import KINDS, of_kind


class Bomb:
    def __reduce__(self):
        return (print, ("boom",))


@pytest.fixture
def good(pipe, tmp_path):
    return write_kohya(tmp_path / "good.safetensors", random_lows(pipe.unet, [LINEAR, CONV3], [2.0, 1.0]))


def refused(pipe, path):
    with unchanged(pipe), pytest.raises(LoRAError) as caught, pipe.using(LoRA(path)):
        raise AssertionError("unreachable")
    return str(caught.value)


def test_a_pickle_is_refused_under_any_name_and_not_opened(pipe, tmp_path, capsys):
    for name in ("a.pt", "a.safetensors", "a.bin"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
        assert "is a pickle" in refused(pipe, tmp_path / name)
    torch.save({"x": torch.ones(1)}, tmp_path / "zip.safetensors")
    assert "is a pickle" in refused(pipe, tmp_path / "zip.safetensors")
    assert "boom" not in capsys.readouterr().out


def test_a_file_that_is_not_there(pipe, tmp_path):
    assert "there is no such LoRA file" in refused(pipe, tmp_path / "none.safetensors")


def test_a_file_of_the_same_name_is_suggested(pipe, good, tmp_path, monkeypatch):
    assert f"did you mean {good}?" in refused(pipe, tmp_path / "good")
    assert f"did you mean {good}?" in refused(pipe, tmp_path / "good.pt")
    with pytest.raises(LoRAError, match="did you mean"):
        read_adapter(tmp_path / "good")
    monkeypatch.chdir(tmp_path)
    assert "there is no such LoRA file; did you mean good.safetensors?" in refused(pipe, "good")
    assert "did you mean good.safetensors?" in refused(pipe, "elsewhere/good")


def test_a_truncated_file(pipe, good):
    data = good.read_bytes()
    for length in (0, 4, 9, 40, len(data) // 2, len(data) - 1):
        good.write_bytes(data[:length])
        assert any(word in refused(pipe, good) for word in ("cut short", "damaged", "not JSON"))


def test_a_file_with_a_hole_or_an_overlap(pipe, good):
    data = good.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    for shift in (4, -4):
        header = json.loads(data[8 : 8 + length])
        last = max(
            (key for key in header if key != "__metadata__"), key=lambda key: header[key]["data_offsets"]
        )
        header[last]["data_offsets"] = [offset + shift for offset in header[last]["data_offsets"]]
        text = json.dumps(header).encode()
        body = data[8 + length :]
        body = body + b"\0" * 4 if shift > 0 else body[:-4]
        good.write_bytes(struct.pack("<Q", len(text)) + text + body)
        assert "does not begin where the one before it ends" in refused(pipe, good)


def test_a_tensor_of_nan(pipe, good):
    tensors = load_file(good)
    key = next(key for key in tensors if key.endswith("lora_up.weight"))
    tensors[key][0] = float("nan")
    save_file(tensors, good)
    assert f"tensor {key} holds NaN or infinity" in refused(pipe, good)


def test_a_checkpoint_that_is_no_lora(pipe, tmp_path):
    save_file({"conv.weight": torch.ones(2)}, tmp_path / "a.safetensors")
    assert "is no LoRA file of kohya, LyCORIS, diffusers or peft" in refused(pipe, tmp_path / "a.safetensors")
    save_file({}, tmp_path / "b.safetensors")
    assert "holds no tensor" in refused(pipe, tmp_path / "b.safetensors")


def test_a_peft_adapter_without_its_configuration(pipe, tmp_path):
    folder = write_peft(tmp_path / "p", random_lows(pipe.unet, [LINEAR], [1.0]))
    (folder / "adapter_config.json").write_text("{")
    assert "is not valid JSON" in refused(pipe, folder)
    (folder / "adapter_config.json").unlink()
    assert "without it the alpha of this peft adapter is unknown" in refused(pipe, folder)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"lora_alpha": float("nan")}, "lora_alpha must be a finite number, not nan"),
        ({"lora_alpha": "16"}, "lora_alpha must be a finite number, not '16'"),
        ({"alpha_pattern": {"to_k": None}}, "must be a finite number, not None"),
        ({"alpha_pattern": [1]}, "alpha_pattern must be an object"),
        ({"alpha_pattern": {"(([a-z_0-9.])+)+X": 3}}, "alpha_pattern has the regular expression"),
        ({"alpha_pattern": {".*a" * 9: 3}}, "alpha_pattern has the regular expression"),
        ({"alpha_pattern": {str(n): 3 for n in range(10_001)}}, "more than any model has modules"),
        ({"lora_alpha": 10**400}, "lora_alpha must be a finite number, not 1000"),
        ({"r": 10**400}, "r must be a finite number"),
        ({"init_lora_weights": "pissa_niter_4"}, "changed the model's own weights too"),
    ],
)
def test_a_configuration_that_would_make_another_change_is_refused(pipe, tmp_path, words, sentence):
    lows = random_lows(pipe.unet, [LINEAR], [1.0])
    folder = write_peft(tmp_path / "p", lows)
    configuration = json.loads((folder / "adapter_config.json").read_text()) | words
    (folder / "adapter_config.json").write_text(json.dumps(configuration))
    assert sentence in refused(pipe, folder)
    one = write_peft_names(tmp_path / "one.safetensors", lows)
    packed = json.dumps({f"unet.{key}": value for key, value in configuration.items()})
    save_file(load_file(one), one, metadata={"lora_adapter_metadata": packed})
    assert sentence in refused(pipe, one)


@pytest.mark.parametrize(
    "key",
    [
        "to_k",
        "^to_k",
        r"to_out\.0",
        "to_k|^to_q",
        "attn1.to_k$",
        "^mid.*",
        ".*attn2.*",
        "^a.to_q|b",
        "x",
        ".",
    ],
)
def test_names_in_alpha_pattern_are_those_that_peft_finds(key):
    from mezzotint_lora.formats.peft_patterns import readable
    from peft.utils.other import get_pattern_key

    for module in (
        "to_k",
        "a.to_k",
        "ato_k",
        "a.to_q",
        "to_q",
        "mid.attn1.to_k",
        "b.attn2.to_out.0",
        "to_out_0",
    ):
        assert (readable(key).match(module) is not None) == (get_pattern_key([key], module) == key), module


NESTED = "[" * 200_000


def test_json_that_is_nested_without_end_gives_a_sentence(pipe, good, tmp_path):
    text = f'{{"a":{NESTED}'.encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    assert "its header is not JSON" in refused(pipe, tmp_path / "a.safetensors")
    folder = write_peft(tmp_path / "p", random_lows(pipe.unet, [LINEAR], [1.0]))
    (folder / "adapter_config.json").write_text(NESTED)
    assert "is not valid JSON" in refused(pipe, folder)
    save_file(load_file(good), good, metadata={"ss_tag_frequency": NESTED})
    assert describe(good, read_adapter(good)).words == {}


@pytest.mark.parametrize("text", ["not json", NESTED, "[]"], ids=["words", "nested", "list"])
def test_alphas_of_diffusers_that_cannot_be_read_are_not_guessed(pipe, tmp_path, text):
    one = write_peft_names(tmp_path / "one.safetensors", random_lows(pipe.unet, [LINEAR], [1.0]))
    save_file(load_file(one), one, metadata={"lora_adapter_metadata": text})
    assert "lora_adapter_metadata in its header" in refused(pipe, one)


def test_what_an_error_quotes_of_a_file_does_not_reach_the_terminal_raw(pipe, good):
    save_file(load_file(good) | {"\x1b[2J\x9b1mfirst_stage": torch.ones(1)}, good)
    sentence = refused(pipe, good)
    assert "first_stage" in sentence
    assert sentence.isprintable()
    assert str(LoRA(good).report(pipe)).replace("\n", "").isprintable()


def test_peft_too_reads_a_pissa_as_a_change_of_another_base(tmp_path):
    from peft import LoraConfig, PeftModel, get_peft_model

    def base():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(8, 8, bias=False))

    config = LoraConfig(r=2, lora_alpha=2, target_modules=["0"], init_lora_weights="pissa")
    get_peft_model(base(), config).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    added = tensors["base_model.model.0.lora_B.weight"] @ tensors["base_model.model.0.lora_A.weight"]
    merged = PeftModel.from_pretrained(base(), tmp_path).merge_and_unload()[0].weight
    assert torch.allclose(merged, base()[0].weight, atol=1e-5)
    assert added.abs().max() > 0.1
    with pytest.raises(LoRAError, match="path_initial_model_for_weight_conversion"):
        read_adapter(tmp_path)


ODD_SHAPES = [(), (0,), (4,), (0, 32), (2, 0), (32, 32), (1, 1, 1), (2, 3, 3, 3), (1, 1, 1, 1, 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_of_any_shape_gives_a_change_or_a_sentence(pipe, tmp_path, kind):
    def draw(*shape):
        return torch.ones(*shape)

    path = tmp_path / "odd.safetensors"
    for module in (LINEAR, CONV3) if kind != "norm" else ("down_blocks.0.resnets.0.norm1",):
        stem = f"lora_unet_{module.replace('.', '_')}"
        tensors = of_kind(kind, draw, *pipe.unet.get_submodule(module).weight.shape)
        for name in tensors:
            for shape in ODD_SHAPES:
                odd = {**tensors, name: torch.ones(shape), "alpha": torch.tensor(1.0)}
                save_file({f"{stem}.{key}": tensor for key, tensor in odd.items()}, path)
                adapter = read_adapter(path)
                describe(path, adapter)
                with suppress(LoRAError):
                    resize(adapter, Keep(1))
                with suppress(LoRAError), pipe.using(LoRA(path)):
                    pass


def test_numbers_of_eight_bits_are_read_and_complex_ones_refused(pipe, good):
    tensors = load_file(good)
    save_file({key: tensor.to(torch.float8_e4m3fn) for key, tensor in tensors.items()}, good)
    with pipe.using(LoRA(good)):
        pass
    broken = {key: tensor * float("nan") for key, tensor in tensors.items()}
    save_file({key: tensor.to(torch.float8_e4m3fn) for key, tensor in broken.items()}, good)
    assert "holds NaN" in refused(pipe, good)
    save_file({key: tensor.to(torch.complex64) for key, tensor in tensors.items()}, good)
    assert "holds complex numbers" in refused(pipe, good)


def test_numbers_of_any_type_that_safetensors_has_are_written_and_others_named(good, tmp_path):
    tensors = {key: tensor.to(torch.uint16) for key, tensor in load_file(good).items()}
    save_file(tensors, good)
    out = tmp_path / "out.safetensors"
    write_adapter(out, read_adapter(good))
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in load_file(out).items() if "lora" in key)
    odd = Adapter({Target("unet", "a"): Delta("full", {"weight": torch.ones(1, dtype=torch.complex64)})})
    with pytest.raises(LoRAError, match="lora_unet_a.diff holds complex64"):
        write_adapter(out, odd)


def test_a_magnitude_without_a_direction_is_refused(pipe, tmp_path):
    stem = f"lora_unet_{LINEAR.replace('.', '_')}"
    tensors = {f"{stem}.diff": torch.ones(16, 32), f"{stem}.dora_scale": torch.ones(16, 1)}
    save_file(tensors, tmp_path / "a.safetensors")
    assert "which has no direction" in refused(pipe, tmp_path / "a.safetensors")


def test_a_folder_without_a_lora(pipe, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no LoRA" in refused(pipe, tmp_path / "empty")


def test_a_file_that_changes_after_it_was_read_changes_nothing(pipe, good):
    adapter = read_adapter(good)
    kept = [tensor.clone() for delta in adapter.deltas.values() for tensor in delta.tensors.values()]
    good.write_bytes(b"\0" * good.stat().st_size)
    now = [tensor for delta in adapter.deltas.values() for tensor in delta.tensors.values()]
    assert all(map(torch.equal, kept, now))


def test_a_full_disk_leaves_what_was_there(good, tmp_path, monkeypatch):
    adapter = read_adapter(good)
    target = tmp_path / "out.safetensors"
    target.write_bytes(b"before")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_adapter(target, adapter)
    assert target.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good.safetensors", "out.safetensors"]


def test_a_new_file_has_the_rights_of_the_umask_which_is_left_alone(good, tmp_path, monkeypatch):
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patched:
            patched.setattr("os.umask", lambda mask: pytest.fail("another thread could make files meanwhile"))
            write_adapter(tmp_path / "out.safetensors", read_adapter(good))
        assert (tmp_path / "out.safetensors").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes_give_a_sentence(tmp_path, data):
    path = tmp_path / "any.safetensors"
    path.write_bytes(data)
    with pytest.raises(LoRAError, match=r"any\.safetensors"):
        read_adapter(path)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_file_with_one_byte_changed_is_read_or_gives_a_sentence(good, position, value):
    data = bytearray(good.read_bytes())
    data[position % len(data)] = value
    path = good.with_name("flipped.safetensors")
    path.write_bytes(bytes(data))
    with suppress_named(path):
        read_adapter(path)


@contextmanager
def suppress_named(path):
    """Nothing, or a sentence that names the file; any other error passes."""
    try:
        yield
    except LoRAError as error:
        if str(path) not in str(error):
            raise AssertionError("the file is not named") from error
