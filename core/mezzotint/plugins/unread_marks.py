"""What a run says about signs in its prompts that no extension in use reads: `(word:1.2)` is plain words then."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..hooks.prompt_marks import WELL_KNOWN, PromptMark
from .discovery import State
from .extension import Extension
from .registry import Registry


def hint_at_unread_marks(
    texts: Collection[str], in_use: Sequence[Extension], registry: Registry
) -> str | None:
    """One sentence for all kinds of signs that are plain words in this run, with who reads them; or `None`.

    Args:
        texts: prompts and negative prompts.
    """
    read = {mark for extension in in_use for mark in extension.reads}
    known = {**dict.fromkeys(WELL_KNOWN), **_readers(registry)}
    parts: dict[str, list[str]] = {}
    for mark, readers in known.items():
        found = None if mark in read else mark.find(texts)
        if found is not None:
            parts.setdefault(_who_reads(mark, readers, registry), []).append(f"{found!r} ({mark.name})")
    return "; ".join(f"{', '.join(found)}: {who}" for who, found in parts.items()) or None


def _readers(registry: Registry) -> dict[PromptMark, list[type[Extension]]]:
    readers: dict[PromptMark, list[type[Extension]]] = {}
    for extension in registry.extensions.values():
        for mark in extension.reads:
            readers.setdefault(mark, []).append(extension)
    return readers


def _who_reads(mark: PromptMark, readers: list[type[Extension]] | None, registry: Registry) -> str:
    if readers:
        return f"plain words unless {' or '.join(map(_switch_on, readers))} is in use"
    if not mark.distribution:
        return "plain words, as no extension reads that"
    for row in registry.rows:
        if row.owner.distribution == mark.distribution and row.state is not State.LOADED:
            return f"plain words, as {row.owner} is {row.state} ({row.cause})"
    return f"plain words without an extension that reads that; pip install {mark.distribution} brings one"


def _switch_on(extension: type[Extension]) -> str:
    """`prompt-syntax (--prompt-syntax, in Python use=[PromptSyntax()])`, with the options that it needs."""
    name = extension.extension_name
    needed = [field for field, info in extension.model_fields.items() if info.is_required()]
    value = " " + ",".join(field.upper() for field in needed) if needed else ""
    options = ", ".join(f"{field}=…" for field in needed)
    return f"{name} (--{name}{value}, in Python use=[{extension.__name__}({options})])"
