"""Write the facts of docs/hooks/*.md from hookspecs.py: signature, slot, place, version, docstring.

    python docs/generate_hooks.py           rewrite the generated part of every page
    python docs/generate_hooks.py --check   write nothing; exit 1 and name the pages that are stale

Only what stands between the two markers is generated. The prose and the example below them are written by
hand; a hook point without a page gets one that says what is still to be written.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

from mezzotint import hookspecs
from mezzotint.hooks.markers import SpecInfo
from mezzotint.hooks.signatures import hook_points, spec_info
from mezzotint.hookspecs import Providers, RunHooks

FOLDER = Path(__file__).parent / "hooks"
BEGIN = "<!-- generated from hookspecs.py by `python docs/generate_hooks.py`; edit below the end marker -->"
END = "<!-- end of the generated part -->"

FIRING: Mapping[str, tuple[str, ...]] = {
    "Once, when the plugin loads": tuple(hook_points(Providers)),
    "Once a run, before its plan is final": ("request",),
    "Once, when the extension is attached: by `pipe.using(…)`, else by the run": (
        "patch_text_encoder",
        "patch_unet",
    ),
    "Once a run, before the loop": (
        "guidance",
        "attention_processor",
        "encode_prompt",
        "make_scheduler",
        "timesteps",
        "initial_latents",
    ),
    "Every step, which is every evaluation of the model": (
        "step_begin",
        "passes",
        "conditioning",
        "unet_residuals",
        "unet_input",
        "time_embedding",
        "unet_block_input",
        "unet_block",
        "attention_probe",
        "cross_attention_tokens",
        "unet_block_output",
        "unet_output",
        "prediction",
        "step_end",
    ),
    "Once a run, after the loop": ("latents", "images"),
    "After every call of another hook point, if an extension implements it": ("hook_called",),
}
"""Every hook point, grouped by how often it fires and in the order in which it first fires; tests compare
it with a run that has an extension at each of them."""


def facts(name: str, function: Callable[..., object]) -> str:
    """The generated part of one page."""
    info = spec_info(function)
    return "\n".join(
        [
            BEGIN,
            "",
            f"# `{name}`",
            "",
            "<!-- no-run: signature -->",
            "```python",
            signature(name),
            "```",
            "",
            f"*{_slot_link(info)} · {_kind(info)} · fires {_when(name)} · since {info.since}*",
            "",
            inspect.getdoc(function) or "",
            "",
            END,
        ]
    )


def table() -> str:
    """The generated part of index.md: all hook points in order of firing."""
    points = hook_points(Providers, RunHooks)
    lines = [BEGIN, "", "# Hook points", "", "In the order in which they first fire.", ""]
    for when, names in FIRING.items():
        lines += [f"## {when}", "", "| hook point | slot | where | what |", "|---|---|---|---|"]
        for name in names:
            info = spec_info(points[name])
            what = (inspect.getdoc(points[name]) or "").partition("\n")[0]
            lines.append(
                f"| [`{name}`]({name}.md) | {info.slot}{' per block' * info.per_block} | {info.where} | {what} |"
            )
        lines.append("")
    return "\n".join([*lines, END])


def signature(name: str) -> str:
    """The declaration as it stands in hookspecs.py, without the colon."""
    source = Path(hookspecs.__file__).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            lines = source.splitlines()[node.lineno - 1 : node.body[0].lineno - 1]
            return dedent("\n".join(lines)).strip().removesuffix(":")
    raise LookupError(f"hookspecs.py declares no {name}")


def pages() -> dict[Path, str]:
    """What every page should be, with the hand-written part as it is now."""
    points = hook_points(Providers, RunHooks)
    wanted = {FOLDER / "index.md": _renewed(FOLDER / "index.md", table())}
    for name, function in points.items():
        path = FOLDER / f"{name}.md"
        wanted[path] = _renewed(path, facts(name, function))
    return wanted


def main(arguments: list[str]) -> int:
    """Rewrite or check the pages; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is stale")
    check = parser.parse_args(arguments).check
    wanted = pages()
    stale = [path for path in wanted if not path.exists() or path.read_text(encoding="utf-8") != wanted[path]]
    for path in stale:
        if not check:
            path.write_text(wanted[path], encoding="utf-8")
        print(f"{'stale' if check else 'written'}: docs/hooks/{path.name}")
    return int(check and bool(stale))


TO_WRITE = "To be written: when it fires, what each return value does, an example, typical users.\n"


def _renewed(path: Path, generated: str) -> str:
    text = path.read_text(encoding="utf-8") if path.exists() else TO_WRITE
    if BEGIN in text and END in text:
        text = text.partition(BEGIN)[0] + text.partition(END)[2]
    return generated + "\n\n" + text.lstrip("\n")


def _slot_link(info: SpecInfo) -> str:
    return f"slot kind [{info.slot}](../architecture.md#slot-kinds){', per block' * info.per_block}"


def _kind(info: SpecInfo) -> str:
    return "provider, implemented by a plugin" if info.where == "plugin" else f"run hook, {info.where}"


def _when(name: str) -> str:
    when = next(when for when, names in FIRING.items() if name in names)
    return when[:1].lower() + when[1:]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
