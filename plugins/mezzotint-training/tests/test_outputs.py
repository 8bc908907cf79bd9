"""Where a training writes is checked before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from mezzotint_training import TrainingError, check_output
from mezzotint_training.outputs import training_folder


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
    (tmp_path / "a-training" / "checkpoints").mkdir(parents=True)
    with pytest.raises(TrainingError, match="exists, and there is no .*a-training with checkpoints"):
        check_output(tmp_path / "a.safetensors", "a LoRA", resume=True)
    (tmp_path / "a-training" / "checkpoints" / "step-000250").mkdir()
    assert check_output(tmp_path / "a.safetensors", "a LoRA", resume=True)


def test_what_no_training_left_is_not_written_over(tmp_path):
    (tmp_path / "precious").mkdir()
    with pytest.raises(
        TrainingError,
        match="precious exists, and there is no .*precious-training with checkpoints of a training",
    ):
        check_output(tmp_path / "precious", "a ControlNet", suffix="", resume=True)


def test_a_training_that_has_begun_is_not_begun_again(tmp_path):
    (tmp_path / "a-training" / "checkpoints" / "step-000250").mkdir(parents=True)
    with pytest.raises(
        TrainingError, match="a-training holds a training that came to step 250; go on with it"
    ):
        check_output(tmp_path / "a.safetensors", "a LoRA")
    assert check_output(tmp_path / "a.safetensors", "a LoRA", resume=True)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(
    ("name", "suffix", "sentence"),
    [
        (
            "folder.safetensors",
            ".safetensors",
            "folder.safetensors is a folder, and a network is a .safetensors",
        ),
        (".", "", "has no name of its own, and a network needs one; name an output"),
        ("file", "", "file is a file, and a network is a folder; name another output"),
        ("b.safetensors", ".safetensors", "b-training is no folder, and checkpoints go there; remove it"),
        ("c.safetensors", ".safetensors", "checkpoints is no folder, and checkpoints go there; remove it"),
        ("new/" + "x" * 300, "", "x cannot be written: File name too long; name another output"),
        ("x" * 250, "", "x-training cannot be written: File name too long; name another output"),
    ],
)
def test_what_stands_in_the_way_is_said_at_once(name, suffix, sentence, resume, tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "b-training").write_bytes(b"")
    (tmp_path / "c-training").mkdir()
    (tmp_path / "c-training" / "checkpoints").write_bytes(b"")
    with pytest.raises(TrainingError, match=sentence):
        check_output(tmp_path / name if name != "." else name, "a network", suffix=suffix, resume=resume)


def test_folders_whose_names_have_dots_do_not_share_a_trainings_folder():
    folders = [training_folder(Path(name)).name for name in ("net.v1", "net.v2", "a.v1.safetensors")]
    assert folders == ["net.v1-training", "net.v2-training", "a.v1-training"]
