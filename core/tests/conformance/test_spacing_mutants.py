"""Seeded bugs in spacings, each of them caught by the check that is meant for it."""

import pytest
from mezzotint.errors import RequestError
from mezzotint.scheduling import spacing
from mezzotint.testing.conformance import CHECKS, check_spacing, subject_of

MUTANTS = []


def falling(n, schedule):
    """The correct one."""
    ratio = schedule.sigma_min / schedule.sigma_max
    return schedule.finish(schedule.sigma_max * ratio ** (i / max(n - 1, 1)) for i in range(n))


def mutant(check, name):
    """A wrong spacing, and the name of the check that must fail."""

    def add(function):
        MUTANTS.append(pytest.param(spacing(name)(function), check, id=name))
        return function

    return add


@mutant("strictly-decreasing", "n-levels")
def n_levels(n, schedule):
    return falling(n, schedule)[1:]


@mutant("strictly-decreasing", "last-level-twice")
def last_level_twice(n, schedule):
    levels = falling(n, schedule)
    return [*levels[:-1], levels[-2]]


@mutant("strictly-decreasing", "rounded-to-whole-timesteps")
def rounded_to_whole_timesteps(n, schedule):
    times = [round(schedule.timestep_at(level)) for level in falling(n, schedule)[:-1]]
    return schedule.finish(map(schedule.sigma_at, times))


@mutant("strictly-decreasing", "one-step-divides-by-zero")
def one_step_divides_by_zero(n, schedule):
    ratio = schedule.sigma_min / schedule.sigma_max
    return schedule.finish(schedule.sigma_max * ratio ** (i / (n - 1)) for i in range(n))


@mutant("strictly-decreasing", "rising")
def rising(n, schedule):
    return falling(n, schedule)[::-1]


@mutant("strictly-decreasing", "ends-anywhere")
def ends_anywhere(n, schedule):
    return [*falling(n, schedule)[:-1], schedule.sigma_min / 2]


@mutant("strictly-decreasing", "starts-too-high")
def starts_too_high(n, schedule):
    return [level * 1.5 for level in falling(n, schedule)]


@mutant("strictly-decreasing", "refuses-ten-steps")
def refuses_ten_steps(n, schedule):
    if n == 10:
        raise RequestError("not ten")
    return falling(n, schedule)


@mutant("spacing-pure", "writes-the-schedule")
def writes_the_schedule(n, schedule):
    levels = falling(n, schedule)
    schedule.sigmas[-1] *= 0.999
    return levels


_LEVELS = []


@mutant("spacing-pure", "gives-its-own-list-away")
def gives_its_own_list_away(n, schedule):
    _LEVELS[:] = falling(n, schedule)
    return _LEVELS


@pytest.mark.parametrize(("spec", "check"), MUTANTS)
def test_a_seeded_bug_is_caught(spec, check):
    (found,) = (each for each in CHECKS if each.name == check)
    assert found(subject_of(spec)).outcome == "failed"


def test_the_spacing_that_the_bugs_are_seeded_in_is_right():
    check_spacing(spacing("falling")(falling)).raise_if_failed()


def test_a_refusal_of_many_steps_is_on_the_card():
    @spacing("at-most-thirty")
    def at_most_thirty(n, schedule):
        if n > 30:
            raise RequestError("at most 30 steps")
        return falling(n, schedule)

    report = check_spacing(at_most_thirty)
    report.raise_if_failed()
    assert report.card.numbers["strictly-decreasing: refused from"] == 31
    assert "from 31 on" in str(report.card)
