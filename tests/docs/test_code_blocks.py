"""Every block of code in the README and in docs/ does what the page says, one page in one namespace and folder.

* A Python block is run, in the order of the page.
* The lines of an `sh` block that begin with `mezzotint` are run, with exit code 0.
* A block with a title, ```` ```python title="contrast.py" ````, is written to that file instead.
* A `text` block below `<!-- output -->` is what the block before it prints; `…` stands for anything in a line.
* A block below `<!-- no-run: the reason -->` is left out; one below `<!-- fails -->` ends with exit code 2.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
FENCE = re.compile(
    r"(?:^<!-- (?P<mark>no-run: [^\n]+|output|fails) -->\n+)?"
    r'^```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\n(?P<code>.*?)^```$',
    re.M | re.S,
)


@dataclass(frozen=True)
class Block:
    language: str
    code: str
    line: int
    title: str
    mark: str


def blocks(text: str) -> Iterator[Block]:
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start("code"))
        yield Block(found["language"], found["code"], line, found["title"] or "", found["mark"] or "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_do_what_it_says(page: Path, documented: Path, monkeypatch: pytest.MonkeyPatch):
    namespace: dict[str, object] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.mark.startswith("no-run"):
            continue
        if block.mark == "output":
            assert is_like(printed, block.code), (
                f"{page.name}:{block.line} is not what is printed:\n{printed}"
            )
        elif block.title:
            (documented / block.title).parent.mkdir(parents=True, exist_ok=True)
            (documented / block.title).write_text(block.code)
        elif block.language == "python":
            printed = run_python(block, page, namespace)
        elif block.language == "sh":
            printed = "".join(run_command(line, block, monkeypatch) for line in commands(block))


def run_python(block: Block, page: Path, namespace: dict[str, object]) -> str:
    # Blank lines in front make the line numbers of a traceback those of the page.
    code = compile("\n" * block.line + block.code, str(page), "exec", dont_inherit=True)
    with redirect_stdout(StringIO()) as output:
        exec(code, namespace)
    return trimmed(output)


def commands(block: Block) -> list[str]:
    lines = block.code.replace("\\\n", " ").splitlines()
    return [line for line in lines if re.match(r"(\w+=\S* )*mezzotint ", line)]


def run_command(line: str, block: Block, monkeypatch: pytest.MonkeyPatch) -> str:
    from mezzotint.cli.main import main

    words = shlex.split(line, comments=True)
    with (
        monkeypatch.context() as patch,
        redirect_stdout(StringIO()) as output,
        redirect_stderr(StringIO()) as errors,
    ):
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as exit_:
            main.main(words[1:], prog_name="mezzotint")
    expected = 2 if block.mark == "fails" else 0
    assert exit_.value.code == expected, (
        f"{line}: exit code {exit_.value.code}\n{output.getvalue()}{errors.getvalue()}"
    )
    return trimmed(errors if expected else output)


def is_like(printed: str, expected: str) -> bool:
    return re.fullmatch(re.escape(expected.strip()).replace("…", ".*"), printed.strip()) is not None


def trimmed(output: StringIO) -> str:
    return "".join(f"{line.rstrip()}\n" for line in output.getvalue().splitlines())


def test_a_block_is_found_with_language_title_and_mark():
    text = '```python\na = 1\n```\n\n<!-- no-run: needs a GPU -->\n```python title="b.py"\nb = 2\n```\n'
    assert list(blocks(text)) == [
        Block("python", "a = 1\n", 1, "", ""),
        Block("python", "b = 2\n", 6, "b.py", "no-run: needs a GPU"),
    ]


def test_an_output_may_leave_out_parts_of_a_line():
    assert is_like("took 12 s\ndone\n", "took … s\ndone")
    assert not is_like("took 12 s\nnot done\n", "took … s\ndone")
    assert not is_like("took 12 s\nand more\ndone\n", "took …\ndone")


def test_every_fence_of_a_page_is_understood():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len(re.findall(r"^```", text, re.M)) == 2 * sum(1 for _ in blocks(text)), page
