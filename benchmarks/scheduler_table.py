"""Every solver of mezzotint-schedulers and every diffusers class that can be driven, measured alike: docs/scheduler-table.md.

    python benchmarks/scheduler_table.py [--only NAME …] [--missing] [--parts analytic emoji] [--write-only]

Order by the conformance kit. Errors after 5, 10, 20 and 50 model evaluations over `trailing` timesteps, on a
Gaussian mixture whose solution is exact and on the emoji model against a run of 1000 steps. The numbers are kept in
docs/scheduler-table.json, a row as soon as it is measured. The emoji model takes minutes.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import diffusers
import mezzotint
import torch
from machine import describe_machine
from mezzotint.errors import MezzotintError
from mezzotint.scheduling import make_scheduler
from mezzotint.testing.conformance import CHECKS, check_scheduler, check_solver
from mezzotint.testing.conformance.drive import first_sample, frame_of, perfect_model, turns
from mezzotint.testing.conformance.problems import MIXTURE
from mezzotint_schedulers import SOLVERS
from mezzotint_schedulers.bridge import class_names

DOCS = Path(__file__).parents[1] / "docs"
DATA = DOCS / "scheduler-table.json"
PAGE = DOCS / "scheduler-table.md"
EVALUATIONS = (5, 10, 20, 50)
"""At which errors are compared."""
PROMPTS = ("3d render of a ghost", "flat icon of a rocket")
REFERENCE_STEPS = 1000
SAMPLES = 512
RANDOM_SAMPLES = 16384
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
LEFT_OUT = (
    "CMStochasticIterativeScheduler",
    "CosineDPMSolverMultistepScheduler",
    "EDMDPMSolverMultistepScheduler",
    "EDMEulerScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "IPNDMScheduler",
    "SCMScheduler",
    "UnCLIPScheduler",
    "DDIMInverseScheduler",
    "DPMSolverMultistepInverseScheduler",
)
"""Classes of diffusers that cannot follow the noise schedule of Stable Diffusion, or go the other way."""
SPACINGS = ("trailing", "karras")
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "DDIMScheduler": {"clip_sample": False},
    "DDIMParallelScheduler": {"clip_sample": False},
    "DDPMScheduler": {"clip_sample": False},
    "DDPMParallelScheduler": {"clip_sample": False},
}
"""What a class needs so that its order can be measured at all."""
MORE: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("DPMSolverMultistepScheduler", {"solver_order": 3}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("DPMSolverSinglestepScheduler", {"solver_order": 3}),
    ("DEISMultistepScheduler", {"solver_order": 3}),
    ("UniPCMultistepScheduler", {"solver_order": 3}),
)
"""Classes once more with other settings of theirs."""
OURS_AGAIN: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("unipc", {"order": 3}),
    ("dpmpp-3m-sde", {"eta": 0.0}),
    ("er-sde", {"scale": "ode"}),
    ("sa-solver", {"tau": 0.0}),
    # Ends where diffusers' class does: at the lowest level of training instead of 0.
    ("deis", {"order": 2, "final_sigmas_type": "sigma_min"}),
    ("seeds-2", {"eta": 0.0}),
)
"""Solvers once more with other options."""
TIMED_OPTIONS = {"restart": lambda n: {"substeps": max(n // 4, 2)}}


def main() -> None:
    """Measure what is asked for and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", help="names of rows; the others stay as they are")
    parser.add_argument("--missing", action="store_true", help="only what has no numbers yet")
    parser.add_argument(
        "--parts", nargs="*", choices=PARTS, default=list(PARTS), help="the other columns stay as they are"
    )
    parser.add_argument("--write-only", action="store_true", help="only write the page again")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("mezzotint").setLevel(logging.ERROR)
    data: dict[str, Any] = json.loads(DATA.read_text()) if DATA.exists() else {"rows": {}}
    data["rows"] = {name: data["rows"].get(name, {}) for name in subjects()}
    if not options.write_only:
        print(describe_machine())
        data["machine"] = describe_machine()
        if "emoji" in options.parts:
            data["emoji_model"] = pipeline().fingerprint
        for part in options.parts:
            for name in options.only or subjects():
                if options.missing and part in data["rows"].get(name, {}):
                    continue
                data["rows"][name][part] = PARTS[part](name)
                print(name, data["rows"][name][part], flush=True)
                DATA.write_text(json.dumps(data, indent=1) + "\n")
    PAGE.write_text(page(data))


@cache
def registry() -> Any:
    """All plugins, loaded once."""
    return mezzotint.Registry.load()


@cache
def subjects() -> Mapping[str, Mapping[str, Any]]:
    """Row → the options that go with it."""
    rows: dict[str, Mapping[str, Any]] = {spec.name: {} for spec in SOLVERS}
    rows |= {_label(name, options): options for name, options in OURS_AGAIN}
    rows |= {f"diffusers:{name}": SETTINGS.get(name, {}) for name in class_names() if name not in LEFT_OUT}
    return rows | {_label(f"diffusers:{name}", options): options for name, options in MORE}


def _label(name: str, options: Mapping[str, Any]) -> str:
    return f"{name} {', '.join(f'{key}={value}' for key, value in options.items())}"


def scheduler(row: str, like: Any, spacing: str = "trailing") -> Any:
    """A fresh scheduler of a row.

    Raises:
        RequestError: a class of diffusers that has no such spacing.
    """
    known = registry()
    return make_scheduler(
        row.split(" ")[0],
        spacing=spacing,
        like=like,
        schedulers=known.schedulers,
        families=known.families,
        spacings=known.spacings,
        options=subjects()[row],
    )


def analytic(row: str) -> dict[str, Any]:
    """Measured order, evaluations a step, and errors on the mixture."""
    measured: dict[str, Any] = {**order(row), "random": is_random(row)}
    try:
        made = scheduler(row, None)
        made.set_timesteps(10)
        measured["evaluations"] = round(len(made.timesteps) / 10, 1)
    except (MezzotintError, ValueError):
        measured["evaluations"] = None
    for spacing in SPACINGS:
        measured[spacing] = {
            str(count): mixture_error(row, spacing, count, measured["random"]) for count in EVALUATIONS
        }
    return measured


def order(row: str) -> dict[str, float | None]:
    """The lower order of both grids; weak for random ones."""
    name, options = row.split(" ")[0], subjects()[row]
    wanted = ("order", "weak-order")
    left_out = [check.name for check in CHECKS if not check.name.startswith(wanted)]
    if name.startswith("diffusers:"):
        found = getattr(diffusers, name.removeprefix("diffusers:"))
        left_out = [
            each for each in left_out if any(c.name == each and "scheduler" in c.kinds for c in CHECKS)
        ]
        report = check_scheduler(partial(found, **options) if options else found, leave_out=left_out)
    else:
        (spec,) = (spec for spec in SOLVERS if spec.name == name)
        left_out = [each for each in left_out if any(c.name == each and "solver" in c.kinds for c in CHECKS)]
        chosen = TIMED_OPTIONS.get(name, options)
        if options and not any("order" in key for key in options):
            spec = replace(spec, stochastic=False)
        report = check_solver(spec, options=chosen, leave_out=left_out)
    lowest = {}
    for kind, quantity in (("order", "order"), ("weak-order", "weak order")):
        values = [
            finding.numbers[quantity]
            for finding in report.findings
            if finding.check in (f"{kind}-exponential", f"{kind}-alternating") and quantity in finding.numbers
        ]
        finite = [value for value in values if math.isfinite(value)]
        lowest[kind] = round(min(finite), 2) if finite else None
    return {"order": lowest["order"], "weak_order": lowest["weak-order"]}


def is_random(row: str) -> bool:
    """Whether it adds noise: as a solver declares, or because two seeds give two samples."""
    (spec,) = [spec for spec in SOLVERS if spec.name == row] or [None]
    if spec is not None:
        return spec.stochastic
    for spacing in SPACINGS:
        try:
            return not torch.equal(*(_mixture_end(row, spacing, 5, _noise(4), seed)[0] for seed in (1, 2)))
        except (MezzotintError, ValueError):
            continue
    return False


def mixture_error(row: str, spacing: str, evaluations: int, random: bool) -> float | None:
    """Root mean square distance of samples from where the ODE carries them, over their deviation.

    For random ones, between sorted samples and quantiles of the data (the Wasserstein distance, which of so many
    samples is 0.01 even if they are right).
    """
    noise = _noise(RANDOM_SAMPLES if random else SAMPLES)
    try:
        end, begun, sigma = _mixture_end(row, spacing, evaluations, noise, 0)
    except (ValueError, IndexError, MezzotintError):
        return None
    if random:
        exact, end = _quantiles(noise.numel()), end.flatten().sort().values
    else:
        exact = MIXTURE.solution(begun, sigma, 1e-9).flatten()
    error = float((end.flatten() - exact).square().mean().sqrt() / exact.std())
    return error if math.isfinite(error) else None


def _mixture_end(
    row: str, spacing: str, evaluations: int, noise: torch.Tensor, seed: int
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The last sample of a run; the first, and its noise level, in the variance-exploding frame."""
    made = scheduler(row, None, spacing)
    _as_many_as(made, evaluations)
    frame = frame_of(made)
    if frame is None:
        raise ValueError(f"{row} does not tell what its model was trained on")
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    ran = list(
        turns(made, perfect_model(MIXTURE, made, frame), first_sample(made, noise), generator=generator)
    )
    alpha, _ = frame(ran[0].timestep)
    return ran[-1].after.double(), ran[0].seen.double() / alpha, frame.ratio(ran[0].timestep)


def _noise(count: int) -> torch.Tensor:
    """Standard normal quantiles (1, 1, 1, count), in an order that is no order."""
    quantiles = torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)
    shuffled = quantiles[torch.randperm(count, generator=torch.Generator().manual_seed(0))]
    # One picture: a seed a sample would cost more than the run.
    return shuffled.reshape(1, 1, 1, -1)


def _quantiles(count: int) -> torch.Tensor:
    """Of the mixture itself."""
    normal = torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)
    return MIXTURE.solution(normal * 1e4, 1e4, 1e-9)


def _as_many_as(made: Any, evaluations: int) -> int:
    """Set the largest number of steps that takes no more than so many evaluations, and more than half as many.

    Restart over `karras` takes 1 evaluation for one step and 21 for two; the one step is no run of 20 evaluations.
    """
    for steps in range(evaluations, 0, -1):
        made.set_timesteps(steps)
        if len(made.timesteps) <= evaluations:
            if 2 * len(made.timesteps) < evaluations:
                raise ValueError(f"{steps} steps take {len(made.timesteps)} evaluations, one more too many")
            return steps
    raise ValueError(f"one step takes {len(made.timesteps)} evaluations")


@cache
def pipeline() -> Any:
    """The emoji model."""
    return mezzotint.load("emoji")


@cache
def reference(start: str) -> torch.Tensor:
    """Latents of 1000 steps of dpmpp-2m."""
    from mezzotint_schedulers.solvers.dpmpp import dpmpp_2m
    from mezzotint_schedulers.spacings.comfy import uniform

    made = mezzotint.scheduler(replace(dpmpp_2m, start=start), uniform, like=pipeline().scheduler)
    latents: torch.Tensor = pipeline()(list(PROMPTS), scheduler=made, steps=REFERENCE_STEPS, seed=0).latents
    return latents.float()


def emoji(row: str) -> dict[str, float | None]:
    """Distance of latents from the reference after so many evaluations, the mean of the prompts."""
    from mezzotint_schedulers.comparison.running import scheduler_start

    if is_random(row):
        return {}
    errors: dict[str, float | None] = {}
    for count in EVALUATIONS:
        try:
            made = scheduler(row, pipeline().scheduler)
            steps = _as_many_as(made, count)
            end = pipeline()(list(PROMPTS), scheduler=made, steps=steps, seed=0).latents.float()
        except (ValueError, IndexError, MezzotintError):
            errors[str(count)] = None
            continue
        exact = reference(scheduler_start(made))
        distance = (end - exact).square().mean((1, 2, 3)).sqrt() / exact.std((1, 2, 3))
        errors[str(count)] = float(distance.mean()) if distance.isfinite().all() else None
    return errors


PARTS = {"analytic": analytic, "emoji": emoji}
"""What is measured, by its key in the data."""


def page(data: Mapping[str, Any]) -> str:
    """docs/scheduler-table.md."""
    rows = {name: row for name, row in data["rows"].items() if "analytic" in row}
    ours = {name: row for name, row in rows.items() if not name.startswith("diffusers:")}
    theirs = {name: row for name, row in rows.items() if name not in ours}
    machine = data.get("machine", "").replace("\n", "; ")
    return "\n".join(
        [
            HEAD,
            *table(ours),
            "\n## Classes of diffusers\n",
            *table(theirs),
            BEST,
            *best(ours, theirs),
            RIVALS,
            f"<small>{machine}; emoji model {data.get('emoji_model', '')[:12]}</small>\n",
        ]
    )


HEAD = """<!-- written by `python benchmarks/scheduler_table.py`; change it there -->

# Schedulers, measured

Every solver of mezzotint-schedulers and every scheduler class of diffusers that follows Stable Diffusion's noise
schedule, measured alike. *Order* is that of convergence to the exact solution of a Gaussian mixture, the lower of
equal and of alternating 1 : 3 steps in log σ ([conformance kit](hooks/schedulers.md#proof)); *w* marks weak order, of
those that add noise. Schedulers of diffusers compute in float32 with at most 96 steps, so that their orders are good
to 0.3; a dash: the kit cannot put it on a grid. What lies behind the odd ones: [differences](scheduler-differences.md).

*Mixture*: root mean square distance of samples after 5, 10, 20 and 50 model evaluations from where the exact solution
carries them, over their deviation, with a perfect model and Stable Diffusion's noise levels. Two evaluations a step
means half as many steps; a dash: no number of steps takes about so many, or the class has no such spacing. `restart`
spends 18 evaluations on going down again, which 20 leave no steps for; over `trailing` all noise levels of as many as 70
steps lie above its `sigma_low`, so that it is Heun. *Random*, in italics: distance between sorted samples and quantiles
of the data, which is 0.01 for perfect samples of this number. The floor at `trailing` is the last step, from the lowest timestep of the run
to σ = 0. *Emoji*: distance of latents from a run of 1000 steps, two prompts, `trailing`.

Regenerate: `python benchmarks/scheduler_table.py`; with `--missing`, only what has no numbers yet.

## Solvers of mezzotint-schedulers
"""

BEST = """
## Best at equal evaluations

The smallest error of those without noise.
"""

RIVALS = """
## Beside skrample and k-diffusion

Read at source: skrample `2213bf4`, k-diffusion `4601bf0`.

| | mezzotint | skrample | k-diffusion |
|---|---|---|---|
| a solver is | a pure function of one step | a class with `sample_packed`, or a closure over a whole run | a closure over a whole run |
| solvers | 25 of the field's names | Euler, DPM 1–3, Adams 1–9, UniP and UniPC 1–9, SPC; any Runge-Kutta tableau to order 15, adaptive ones | 13 `sample_*`, one of them adaptive |
| spacings | 24 with dialects, from training timesteps or ranges of σ | Karras, exponential, beta, probit; flow shift, hyper, sinner | Karras, exponential, polyexponential, VP |
| prediction types | epsilon, v, sample, flow, on variance-preserving and flow models | the same | wrappers around the model |
| runs in unmodified diffusers pipelines | yes, equal to its classes to 5e-6 | yes, through a wrapper | no |
| image-to-image by index | yes | yes | sigmas are sliced by the caller |
| noise keyed by seed, picture, step, stage | yes; picture k of a batch has its own | a generator for each picture | no; a Brownian tree for the SDE samplers |
| mid-run state on disk, resumed to the bit | yes | no; earlier samples are the caller's to keep | no |
| plugins by `pip install` | entry points, listed with owner and paper | no | no |
| adaptive step sizes | no: where a solver evaluates must not depend on the sample | RKMoire | `dpm_adaptive` |
| order of convergence asserted | every solver, on two grids, in float64 | no; snapshots of its own output, generated | no tests |
| weak order of stochastic ones asserted | yes, from exact variances | no | no tests |
| parity with diffusers asserted | 15 settings × 3 spacings × 3 numbers of steps, 5 stochastic on the same noise, pipelines | Euler, ancestral, flow, DPM, UniPC, Heun | no tests |
| a kit for other people's solvers | `conformance_tests(solver)`, held against seeded bugs itself | no | no |

What they have and this has not: Runge-Kutta methods by tableau and of orders beyond four, adaptive steps, coloured,
pyramid and Brownian noise generators.
"""


def table(rows: Mapping[str, Any]) -> list[str]:
    """Lines of a table."""
    counts = " / ".join(map(str, EVALUATIONS))
    lines = [
        f"| | order | evaluations | mixture, trailing: {counts} | mixture, karras: {counts} | emoji: {counts} |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        found = row["analytic"]
        style = "*{}*" if found["random"] else "{}"
        errors = [_errors(found[spacing], style) for spacing in SPACINGS]
        lines.append(
            f"| `{name}` | {_order(found)} | {found['evaluations'] or ''} | {' | '.join(errors)} | "
            f"{_errors(row.get('emoji') or {}, style)} |"
        )
    return lines


def _order(found: Mapping[str, Any]) -> str:
    if found["order"] is not None:
        return f"{found['order']:.2f}"
    return f"{found['weak_order']:.2f} w" if found["weak_order"] is not None else "–"


def _errors(errors: Mapping[str, float | None], style: str) -> str:
    if not any(value is not None for value in errors.values()):
        return "–"
    values = [errors.get(str(count)) for count in EVALUATIONS]
    return style.format(" / ".join("–" if value is None else f"{value:.3g}" for value in values))


def best(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Lines of the table of winners."""
    lines = ["| problem | evaluations | ours | diffusers |", "|---|---|---|---|"]
    ratios: list[float] = []
    for title, errors_of in (
        ("mixture, trailing", lambda row: row["analytic"]["trailing"]),
        ("mixture, karras", lambda row: row["analytic"]["karras"]),
        ("emoji", lambda row: row.get("emoji") or {}),
    ):
        for count in EVALUATIONS:
            winners = [_winner(rows, errors_of, str(count)) for rows in (ours, theirs)]
            if all(winners):
                cells = [f"{error:.4g} (`{name}`)" for error, name in winners]
                lines.append(f"| {title} | {count} | {' | '.join(cells)} |")
                ratios.append(winners[0][0] / winners[1][0])
    worst = max(ratios)
    lines.append(f"\nThe largest ratio of ours to diffusers' is {worst:.4f}.")
    return lines


def _winner(rows: Mapping[str, Any], errors_of: Any, count: str) -> tuple[float, str] | None:
    found = {
        name: errors_of(row)[count]
        for name, row in rows.items()
        if not row["analytic"]["random"] and errors_of(row).get(count) is not None
    }
    return min((error, name) for name, error in found.items()) if found else None


if __name__ == "__main__":
    main()
