"""A stranger's plugin: built into a wheel, pip-installed into a scratch environment, and there; no line of core changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mezzotint.testing import save_tiny_model
from scratch_environment import Scratch, build_wheel

PROJECT = Path(__file__).parent / "third_party" / "mezzotint-afterglow"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build_wheel(PROJECT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Scratch:
    return Scratch(tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def states(scratch: Scratch) -> dict[str, str]:
    rows = json.loads(scratch.mezzotint("plugins", "list", "--json"))
    rows = rows["plugins"] if isinstance(rows, dict) else rows
    return {row["distribution"]: row["state"] for row in rows}


SCRIPT = """
import json, sys, torch, mezzotint
from mezzotint_afterglow import Afterglow
pipe = mezzotint.load(sys.argv[1])
run = {"steps": 3, "seed": 1, "scheduler": "afterglow-midpoint"}
plain, zero, glow = (pipe("a cat", use=use, **run) for use in ([], [Afterglow(0.0)], [Afterglow(0.5)]))
again = pipe("a cat", **run)
print(json.dumps({
    "zero": torch.equal(plain.latents, zero.latents),
    "glow": not torch.equal(plain.latents, glow.latents),
    "again": torch.equal(plain.latents, again.latents),
    "recipe": glow.recipe["extensions"][0]["plugin"],
    "scheduler": glow.recipe["scheduler"]["plugin"],
    "why": pipe.plan("a cat", use=[Afterglow()]).rows()[0]["from"],
}))
"""


def test_from_wheel_to_picture_and_away_again(scratch, wheel, model, tmp_path):
    assert "mezzotint-afterglow" not in states(scratch)
    scratch.pip("install", "--quiet", "--no-deps", "--no-index", str(wheel))
    assert states(scratch)["mezzotint-afterglow"] == "loaded"
    assert "afterglow-midpoint" in scratch.mezzotint("schedulers", "list")

    told = json.loads(scratch.run("-c", SCRIPT, str(model)).splitlines()[-1])
    plugin = {"name": "afterglow", "distribution": "mezzotint-afterglow", "version": "1.2.3"}
    assert told == {
        "zero": True,
        "glow": True,
        "again": True,
        "recipe": plugin,
        "scheduler": plugin,
        "why": "plugin afterglow (mezzotint-afterglow 1.2.3)",
    }

    out = str(tmp_path / "cat.png")
    generate = (
        "generate",
        "a cat",
        "--model",
        str(model),
        "--steps",
        "2",
        "--seed",
        "1",
        "--output",
        out,
    )
    scratch.mezzotint(*generate, "--scheduler", "afterglow-midpoint", "--afterglow-strength", "0.5")
    assert "identical" in scratch.mezzotint("replay", out)
    assert "--afterglow-strength" in scratch.mezzotint("generate", "--help")

    scratch.mezzotint("plugins", "disable", "afterglow")
    assert states(scratch)["mezzotint-afterglow"] == "disabled"
    scratch.mezzotint("replay", out, code=2)
    scratch.mezzotint("plugins", "enable", "afterglow")

    scratch.pip("uninstall", "--quiet", "--yes", "mezzotint-afterglow")
    assert "mezzotint-afterglow" not in states(scratch)
