"""`solver` and `spacing`: from a function to a spec."""

import copy
import dataclasses
import subprocess
import sys

import pytest
from mezzotint.errors import PluginError
from mezzotint.scheduling import SolverSpec, SpacingSpec, solver, spacing


def test_a_solver_is_a_frozen_spec_that_says_what_it_is():
    @solver("midpoint", accuracy_order=2, evals_per_step=2, history=1, paper="Euler 1768", eta=0.5)
    def midpoint(s):
        """Half a step first.

        More words.
        """
        return s.x

    assert isinstance(midpoint, SolverSpec)
    assert (midpoint.name, midpoint.accuracy_order, midpoint.evals_per_step, midpoint.history) == (
        "midpoint",
        2,
        2,
        1,
    )
    assert dict(midpoint.options) == {"eta": 0.5}
    assert midpoint.description == "Half a step first."
    with pytest.raises(dataclasses.FrozenInstanceError):
        midpoint.name = "other"
    with pytest.raises(TypeError):
        midpoint.options["eta"] = 1.0


def test_a_spacings_options_are_its_keyword_only_parameters():
    @spacing("powers@mine", paper="-")
    def powers(n, schedule, *, rho: float = 7.0):
        """Powers."""

    assert isinstance(powers, SpacingSpec)
    assert dict(powers.options) == {"rho": 7.0}
    assert (powers.family, powers.default) == ("powers", False)


def test_specs_survive_deep_copies_of_what_holds_them(solvers, spacings):
    assert copy.deepcopy(solvers) == solvers
    assert copy.deepcopy(spacings)["geometric"] is spacings["geometric"]


@pytest.mark.parametrize("name", ["", "Euler", "euler_a", "euler a", "euler@dialect", "-euler"])
def test_malformed_solver_names_are_refused(name):
    with pytest.raises(PluginError, match="use lower-case words joined by dashes"):
        solver(name, accuracy_order=1)


def test_impossible_numbers_are_refused():
    with pytest.raises(PluginError, match="evals_per_step starts at 1"):
        solver("euler", accuracy_order=1, evals_per_step=0)


def test_declaring_solvers_imports_nothing_heavy():
    code = (
        "import sys, mezzotint.scheduling as s\n"
        "s.solver('a', accuracy_order=1)(lambda step: step.x)\n"
        "s.spacing('b')(lambda n, schedule: [1, 0])\n"
        "print([m for m in ('torch', 'diffusers', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
