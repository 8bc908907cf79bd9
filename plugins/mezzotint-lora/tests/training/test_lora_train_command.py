"""`mezzotint lora train`, in this process, killed, and in two processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from lora_training_process import free_port, launch
from mezzotint.testing import save_tiny_model
from mezzotint_lora.training.command import command
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

OPTIONS = [
    "--steps",
    "6",
    "--save-every",
    "2",
    "--batch-size",
    "1",
    "--rank",
    "2",
    "--no-tensorboard",
    "--quiet",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tiny_model(tmp_path / "model")
    (tmp_path / "pictures").mkdir()
    random = np.random.default_rng(0)
    for number in range(4):
        pixels = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
        (tmp_path / "pictures" / f"{number}.txt").write_text(f"cat {number}")
    return tmp_path


def arguments(folder: Path, name: str, *more: str) -> list[str]:
    paths = [
        str(folder / "pictures"),
        "-o",
        str(folder / f"{name}.safetensors"),
        "--model",
        str(folder / "model"),
    ]
    return [*paths, *OPTIONS, *more]


def run(folder: Path, name: str, *more: str):
    return CliRunner().invoke(command, arguments(folder, name, *more))


def equal(folder: Path, first: str, second: str) -> bool:
    a, b = (load_file(folder / f"{name}.safetensors") for name in (first, second))
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_it_prints_the_path(folder):
    result = run(folder, "a")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(folder / "a.safetensors")


def test_settings_come_from_a_file_and_the_command_line_comes_first(folder):
    (folder / "settings.toml").write_text('rank = 3\nlearning-rate = 1e-3\nonly = ["attn2"]\n')
    assert run(folder, "a", "--config", str(folder / "settings.toml")).exit_code == 0
    tensors = load_file(folder / "a.safetensors")
    assert {tensor.shape[0] for key, tensor in tensors.items() if key.endswith("lora_down.weight")} == {2}
    assert all("attn2" in key for key in tensors)


def test_every_setting_has_an_option():
    from mezzotint_lora.training import LoRASettings

    flags = {flag for parameter in command.params for flag in parameter.opts}
    assert {f"--{name.replace('_', '-')}" for name in LoRASettings.model_fields} <= flags


def test_help_is_quick_and_imports_no_torch():
    program = "import sys; from mezzotint_lora.training.command import command; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "False"


def test_a_training_killed_while_it_writes_a_checkpoint_goes_on_to_the_same_bits(folder):
    assert launch(arguments(folder, "b"), kill_at=4) == [-signal.SIGKILL]
    assert sorted(path.name for path in (folder / "b-training" / "checkpoints").iterdir()) == [
        ".step-000004.part",
        "step-000002",
    ]
    assert run(folder, "b", "--resume").exit_code == 0
    assert run(folder, "a").exit_code == 0
    assert equal(folder, "a", "b")


def test_two_processes_train_one_lora_and_accelerate_launch_resumes_to_the_same_bits(folder):
    assert launch(arguments(folder, "a"), processes=2) == [0, 0]
    first, second = launch(arguments(folder, "b"), processes=2, kill_at=4)
    assert first == -signal.SIGKILL
    assert second != 0
    assert not (folder / "b.safetensors").exists()
    # As the docs say; without a GPU, --multi_gpu starts processes on the CPU.
    program = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    program += ["--main_process_port", str(free_port()), "-m", "mezzotint", "lora", "train"]
    found = subprocess.run(
        [*program, *arguments(folder, "b", "--resume")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == str(folder / "b.safetensors")  # One process speaks.
    assert equal(folder, "a", "b")
    # One process with twice the batches to a step sees the same samples.
    assert run(folder, "c", "--accumulate", "2").exit_code == 0
    a, c = (load_file(folder / f"{name}.safetensors") for name in "ac")
    assert all(torch.allclose(a[key], c[key], atol=1e-5) for key in a)


def logged(folder: Path, name: str) -> list[float]:
    events = EventAccumulator(str(folder / f"{name}-training" / "log")).Reload()
    return [event.value for event in events.Scalars("loss")]


def test_the_loss_that_is_logged_is_of_all_processes(folder):
    assert launch(arguments(folder, "a", "--tensorboard"), processes=2) == [0, 0]
    assert run(folder, "b", "--accumulate", "2", "--tensorboard").exit_code == 0
    assert run(folder, "c", "--tensorboard").exit_code == 0
    assert logged(folder, "a") == pytest.approx(logged(folder, "b"), abs=1e-5)
    assert logged(folder, "a") != pytest.approx(logged(folder, "c"), abs=1e-3)


def refusal(folder: Path, *more: str) -> str:
    result = CliRunner().invoke(command, arguments(folder, "a", *more))
    assert result.exit_code
    return str(result.exception) if not isinstance(result.exception, SystemExit) else result.output


def test_an_output_that_is_taken_is_refused_before_the_model_is_opened(folder, monkeypatch):
    monkeypatch.setattr("mezzotint.load", lambda *_, **__: pytest.fail("the model is opened"))
    (folder / "a.safetensors").write_bytes(b"")
    assert "a.safetensors exists; name another output" in refusal(folder)
    (folder / "a.safetensors").unlink()
    (folder / "a-training" / "checkpoints" / "step-000002").mkdir(parents=True)
    assert "a-training holds a training that came to step 2" in refusal(folder)


def test_a_file_that_is_no_data_set_is_refused_before_the_model_is_opened(folder, monkeypatch):
    monkeypatch.setattr("mezzotint.load", lambda *_, **__: pytest.fail("the model is opened"))
    toml = folder / "data.toml"
    toml.write_text('[[datasets]]\n[[datasets.subsets]]\nimage_dir = "pictures"\nnum_repeat = 2\n')
    for data, said in ((toml, "num_repeat"), (folder / "pictures" / "0.png", "is no folder")):
        result = CliRunner().invoke(command, [str(data), *arguments(folder, "a")[1:]])
        assert said in str(result.exception)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("--network_dim", "--rank"),
        ("--unet-lr", "--learning-rate"),
        ("--use_8bit_adam", "--optimizer adamw-8bit"),
        ("--pretrained_model_name_or_path", "Did you mean --model?"),
        ("--resume_from_checkpoint", "Did you mean --resume?"),
        ("--output_dir", "Did you mean --output?"),
        ("--network_module", "Did you mean --kind?"),
        ("--validation_prompt", "Did you mean --sample-prompts FILE?"),
        ("--train_data_dir", "Give the pictures as DATA"),
        ("--ranc", "--rank"),
    ],
)
def test_an_option_of_another_trainer_is_answered_with_ours(theirs, ours, folder):
    said = refusal(folder, theirs)
    assert theirs in said
    assert ours in said
