"""A peft adapter is a folder: it is replaced whole, and only where nothing else is in it."""

import pytest
import torch
from mezzotint_lora import Adapter, Delta, LoRAError, Target, read_adapter, write_adapter


def adapter(*components, fill=1.0):
    factors = {"down": torch.full((2, 4), fill), "up": torch.full((4, 2), fill)}
    return Adapter({Target(component, "a.to_k"): Delta("lora", factors, 2.0) for component in components})


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_models_that_the_new_adapter_does_not_change_are_gone(tmp_path):
    write_adapter(tmp_path / "p", adapter("unet", "text_encoder"), "peft")
    write_adapter(tmp_path / "p", adapter("unet"), "peft")
    assert read_adapter(tmp_path / "p").components == ("unet",)
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.rename"])
def test_an_error_on_the_way_leaves_the_old_adapter(tmp_path, monkeypatch, call):
    write_adapter(tmp_path / "p", adapter("unet", "text_encoder"), "peft")
    before = content(tmp_path)
    rename, calls = type(tmp_path).rename, []

    def second_fails(*args):
        calls.append(args)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return rename(*args) if call.endswith("rename") else None

    new = adapter("unet", "text_encoder", fill=2.0)
    with monkeypatch.context() as patched:
        patched.setattr(call, second_fails)
        with pytest.raises(OSError, match="No space left"):
            write_adapter(tmp_path / "p", new, "peft")
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["notes.txt", "unet/optimizer.pt", "text_encoder_2/deeper/adapter_config.json"]
)
def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path, name):
    write_adapter(tmp_path / "p", adapter("unet"), "peft")
    (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "p" / name).write_text("mine")
    before = content(tmp_path)
    with pytest.raises(
        LoRAError, match=f"holds more than an adapter .{name.rpartition('/deeper')[0] or name}"
    ):
        write_adapter(tmp_path / "p", adapter("text_encoder"), "peft")
    assert content(tmp_path) == before


def test_a_folder_of_peft_without_models_below_and_an_empty_one_are_written_over(tmp_path):
    (tmp_path / "empty").mkdir()
    write_adapter(tmp_path / "empty", adapter("unet"), "peft")
    flat = (tmp_path / "empty" / "unet").rename(tmp_path / "flat")
    write_adapter(flat, adapter("text_encoder"), "peft")
    assert read_adapter(flat).components == ("text_encoder",)


@pytest.mark.parametrize("format", ["kohya", "diffusers"])
def test_a_folder_in_place_of_a_file_is_named(tmp_path, format):
    with pytest.raises(
        LoRAError, match=f"is a folder; a LoRA of {format} is a file, such as .*lora.safetensors"
    ):
        write_adapter(tmp_path, adapter("unet"), format)
    assert list(tmp_path.iterdir()) == []
