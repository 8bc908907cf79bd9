"""What is shown while training."""

from __future__ import annotations

import pytest
import torch
from mezzotint_training.progress import Pace, clock, showing
from mezzotint_training.running_mean import RunningMean


def test_time_left_is_read_as_people_write_it():
    assert clock(59.6) == "01:00"
    assert clock(3723) == "1:02:03"


def test_pace_is_pictures_a_second_and_the_rest_of_the_steps(monkeypatch):
    times = iter([0.0, 1.0, 2.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    pace = Pace(0, 10, pictures=4)
    assert pace.at(1) == pytest.approx((4.0, 9.0))
    assert pace.at(2) == pytest.approx((4.0, 8.0))


def test_a_step_that_compiles_says_nothing_of_the_others(monkeypatch):
    times = iter([0.0, 100.0, 101.0, 102.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    pace = Pace(0, 10, pictures=4)
    found = [pace.at(step) for step in (1, 2, 3)]
    assert found[-1] == pytest.approx((4.0, 7.0))


def test_a_log_gets_a_line_with_loss_speed_and_time_left(capsys):
    with showing(0, 2, 4, quiet=False) as progress:
        progress.step(1, lambda: 0.25)
        progress.step(2, lambda: 0.125)
        progress.say("hello")
    said = capsys.readouterr().err
    assert "step 2/2  loss 0.1250" in said
    assert "images/s  00:00 left" in said
    assert said.endswith("hello\n")


def test_quiet_is_quiet(capsys):
    with showing(0, 2, 4, quiet=True) as progress:
        progress.step(2, lambda: 0.125)
        progress.say("hello")
    assert capsys.readouterr() == ("", "")


def test_a_running_mean_forgets_what_is_older():
    mean = RunningMean()
    for value in (1.0, 2.0, 4.0):
        mean.add(torch.tensor(value), keep=0.5)
    assert mean.fetch() == pytest.approx((0.25 + 1.0 + 4.0) / 1.75)
    mean.clear()
    mean.add(torch.tensor(3.0))
    assert mean.fetch() == 3.0
