"""`mezzotint bench`: a table of what is here, with what it saves and how far the picture moves."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from mezzotint.testing import tiny_pipeline
from mezzotint_blocks.caches import DeepCache, TextKV
from mezzotint_blocks.speed.candidates import Candidate, candidates
from mezzotint_blocks.speed.machine import this_machine
from mezzotint_blocks.speed.measure import counted_calls, measure, peak_memory
from mezzotint_blocks.speed.picture_distance import psnr, ssim
from PIL import Image

OPTIONS = {"steps": 4, "seed": 1, "n": 1, "guidance": 5.0}


@pytest.fixture
def pipe(model_folder):
    import mezzotint_blocks

    return tiny_pipeline(model_folder, plugins=[mezzotint_blocks])


def test_an_exact_one_is_equal_and_an_approximate_one_says_how_far_it_is(pipe):
    exact = measure(pipe, Candidate("text-kv", (TextKV(),), True), "a cat", OPTIONS, rounds=2)
    assert (exact.equal, exact.psnr, exact.calls_saved) == (True, math.inf, 0)
    assert exact.ssim == pytest.approx(1)
    near = measure(pipe, Candidate("deepcache", (DeepCache(4),), False), "a cat", OPTIONS, rounds=2)
    assert not near.equal
    assert near.psnr < 60
    assert 0.5 < near.calls_saved < 0.75
    assert near.slowest <= near.speedup <= near.fastest


def test_what_cannot_run_here_is_listed_with_the_reason(pipe):
    machine = this_machine(pipe.device)
    found = {each.label: each for each in candidates(pipe.registry, machine, compile_blocks=False)}
    assert found["openvino"].skipped == "no plugin here brings openvino"
    assert "--compile" in found["compile"].skipped
    assert found["fast + deepcache interval=3"].extensions
    measured = measure(pipe, found["openvino"], "a cat", OPTIONS, rounds=1)
    assert measured.problem == found["openvino"].skipped
    only = [each.label for each in candidates(pipe.registry, machine, compile_blocks=False, only=["tgate"])]
    assert only == ["tgate"]


def test_calls_are_counted_by_rows_below_everything(pipe):
    with counted_calls(pipe.unet) as plain:
        pipe("a cat", **OPTIONS)
    with counted_calls(pipe.unet) as doubled:
        pipe("a cat", **{**OPTIONS, "n": 2})
    assert doubled() == 2 * plain() > 0


def test_the_peak_is_at_least_what_was_held(pipe):
    with peak_memory(pipe.device) as before:
        pass
    with peak_memory(pipe.device) as peak:
        held = np.ones(64 * 2**20, dtype=np.uint8)
        import time

        time.sleep(0.05)
    if peak() is None:
        pytest.skip("this system does not say how much memory a process has")
    assert peak() >= held.nbytes / 2**20
    assert before() is not None


def test_psnr_and_ssim_are_those_of_closed_forms():
    grey = Image.new("RGB", (32, 32), (100, 100, 100))
    brighter = Image.new("RGB", (32, 32), (110, 110, 110))
    assert psnr([grey], [grey]) == math.inf
    assert psnr([brighter], [grey]) == pytest.approx(10 * math.log10(255**2 / 100))
    c1 = (0.01 * 255) ** 2
    assert ssim([brighter], [grey]) == pytest.approx((2 * 100 * 110 + c1) / (100**2 + 110**2 + c1), abs=1e-6)


def test_the_command_prints_a_table_and_json(pipe, monkeypatch):
    import mezzotint
    from click.testing import CliRunner
    from mezzotint_blocks.speed.bench_command import command

    monkeypatch.setattr(mezzotint, "load", lambda model: pipe)
    arguments = ["deepcache", "text-kv", "--steps", "2", "--rounds", "1"]
    table = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert table.exit_code == 0
    assert "speed-up" in table.output
    assert "deepcache interval=5" in table.output
    printed = json.loads(CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False).output)
    assert printed["machine"]["device"] == "cpu"
    assert printed["measurements"][0]["label"] == "text-kv"


def test_an_unknown_name_is_answered_with_the_known_ones(pipe, monkeypatch):
    import mezzotint
    from click.testing import CliRunner
    from mezzotint.errors import RequestError
    from mezzotint_blocks.speed.bench_command import command

    monkeypatch.setattr(mezzotint, "load", lambda model: pipe)
    with pytest.raises(RequestError, match="no extension named 'deepcash'; there are: "):
        CliRunner().invoke(command, ["deepcash"], catch_exceptions=False)
