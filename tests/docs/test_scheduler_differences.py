"""Every difference from diffusers that the page states names a test that there is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "scheduler-differences.md"
FOLDERS = (ROOT / "plugins" / "mezzotint-schedulers" / "tests", ROOT / "core" / "tests" / "scheduling")


def test_every_line_names_a_test_that_there_is():
    text = PAGE.read_text(encoding="utf-8")
    tests = "".join(
        path.read_text(encoding="utf-8") for folder in FOLDERS for path in folder.glob("test_*.py")
    )
    rows = [line for line in text.splitlines() if line.startswith("| ") and "shown by" not in line]
    assert len(rows) > 10
    for row in rows:
        (named,) = re.findall(r"`(test_\w+)`", row.replace(".py`", ""))
        assert f"def {named}(" in tests, f"{named} is not there: {row}"
