"""Where a training writes is checked before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from mezzotint_training import TrainingError, check_output


def test_a_path_that_can_be_written_is_given_back(tmp_path):
    assert (
        check_output(str(tmp_path / "new" / "a.safetensors"), "a LoRA") == tmp_path / "new" / "a.safetensors"
    )
    assert check_output(tmp_path / "net", "a ControlNet", suffix="") == tmp_path / "net"


@pytest.mark.parametrize(
    ("name", "suffix", "sentence"),
    [
        ("a.pt", ".safetensors", "a.pt: a network is a .safetensors file"),
        ("a.safetensors", "", "a.safetensors: a network is a folder, not a .safetensors file"),
        (
            "there.safetensors",
            ".safetensors",
            "there.safetensors exists; name another output, or remove it, or let",
        ),
        ("there.safetensors/a.safetensors", ".safetensors", "there.safetensors cannot be written to; name"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(name, suffix, sentence, tmp_path):
    (tmp_path / "there.safetensors").write_bytes(b"")
    with pytest.raises(TrainingError, match=sentence):
        check_output(tmp_path / name, "a network", suffix=suffix)


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(TrainingError, match="cannot be written to"):
        check_output(tmp_path / "new" / "a.safetensors", "a LoRA")


def test_a_training_that_goes_on_may_write_again(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"")
    (tmp_path / "a-training").mkdir()
    assert check_output(tmp_path / "a.safetensors", "a LoRA", resume=True)


def test_what_no_training_left_is_not_written_over(tmp_path):
    (tmp_path / "precious").mkdir()
    with pytest.raises(
        TrainingError, match="precious exists, and there is no .*precious-training of a training"
    ):
        check_output(tmp_path / "precious", "a ControlNet", suffix="", resume=True)


def test_a_training_that_has_begun_is_not_begun_again(tmp_path):
    (tmp_path / "a-training" / "checkpoints" / "step-000250").mkdir(parents=True)
    with pytest.raises(
        TrainingError, match="a-training holds a training that came to step 250; go on with it"
    ):
        check_output(tmp_path / "a.safetensors", "a LoRA")
    assert check_output(tmp_path / "a.safetensors", "a LoRA", resume=True)
