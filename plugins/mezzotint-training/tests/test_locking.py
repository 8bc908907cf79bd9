"""A folder is held by one process, and by none that is dead."""

from __future__ import annotations

import subprocess
import sys

import pytest
from mezzotint_training import TrainingError
from mezzotint_training.locking import locked

HOLD = """
import sys, time
from pathlib import Path
from mezzotint_training.locking import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_folder_that_another_process_holds_is_refused_until_that_is_killed(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "new")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(TrainingError, match="another training is writing into"), locked(tmp_path / "new"):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with locked(tmp_path / "new"):
        pass


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(TrainingError, match="file/new cannot be written: Not a directory"),
        locked(tmp_path / "file" / "new"),
    ):
        pass
