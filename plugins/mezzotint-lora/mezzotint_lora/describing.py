"""What is in a LoRA file, without any model: format, family, kinds, ranks, blocks, words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mezzotint.strangers_json import parse

from .adapter import Adapter, Target
from .deltas import rank_of
from .deltas.kinds import KINDS
from .families import Guess, guess_family
from .printable import printable

MAX_WORDS = 20
_BLOCK = re.compile(
    r"(?P<stage>down|up|input|output)_blocks?[._](?P<number>\d+)|(?P<mid>mid_block|middle_block)|layers[._](?P<layer>\d+)"
)
_FACTS = {
    "title": ("modelspec.title", "ss_output_name"),
    "author": ("modelspec.author",),
    "description": ("modelspec.description",),
    "licence": ("modelspec.license",),
    "made": ("modelspec.date",),
    "base model": ("ss_sd_model_name", "ss_base_model_version", "modelspec.architecture"),
    "resolution": ("modelspec.resolution", "ss_resolution"),
    "steps": ("ss_steps", "ss_max_train_steps"),
    "epoch": ("ss_epoch",),
    "learning rate": ("ss_learning_rate", "ss_unet_lr"),
    "pictures": ("ss_num_train_images",),
    "clip skip": ("ss_clip_skip",),
    "trained as": ("ss_network_module",),
}


@dataclass(frozen=True)
class Description:
    """What a file says about itself. Histograms are largest first."""

    path: Path
    layout: str
    family: Guess
    kinds: Mapping[str, int]
    """Such as `LoRA`, `DoRA`, by number of modules."""
    ranks: Mapping[int, int]
    alphas: Mapping[str, int]
    """Alpha as text, `missing (= rank)` where there is none."""
    dtypes: Mapping[str, int]
    components: Mapping[str, int]
    blocks: Mapping[str, int]
    words: Mapping[str, int]
    """Words of the captions that it was trained on, with how often they were there."""
    facts: Mapping[str, str]
    """Title, author and so on, where the header has them."""
    parameters: int
    unread: Mapping[str, str]

    def plain(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "path": str(self.path),
            "format": self.layout,
            "family": self.family.title or None,
            "family_because": self.family.because,
            "kinds": dict(self.kinds),
            "ranks": {str(rank): count for rank, count in self.ranks.items()},
            "alphas": dict(self.alphas),
            "dtypes": dict(self.dtypes),
            "components": dict(self.components),
            "blocks": dict(self.blocks),
            "words": dict(self.words),
            "facts": dict(self.facts),
            "parameters": self.parameters,
            "unread": dict(self.unread),
        }


def describe(path: Path, adapter: Adapter) -> Description:
    """Describe an adapter that `read_adapter` read."""
    deltas = adapter.deltas
    factors = [delta for delta in deltas.values() if rank_of(delta)]
    return Description(
        path,
        adapter.layout,
        guess_family(adapter),
        _counted(_kind(delta.kind, delta.tensors) for delta in deltas.values()),
        _counted(rank_of(delta) for delta in factors),
        _counted("missing (= rank)" if not delta.alpha else f"{delta.alpha:g}" for delta in factors),
        _counted(
            str(tensor.dtype).removeprefix("torch.")
            for delta in deltas.values()
            for tensor in delta.tensors.values()
        ),
        _counted(target.component for target in deltas),
        dict(sorted(Counter(map(_block, deltas)).items(), key=lambda pair: _natural(pair[0]))),
        trained_words(adapter.metadata),
        _facts(adapter.metadata),
        sum(tensor.numel() for delta in deltas.values() for tensor in delta.tensors.values()),
        adapter.unread,
    )


def trained_words(metadata: Mapping[str, str]) -> dict[str, int]:
    """The most frequent caption words in `ss_tag_frequency`; trigger phrases come first, with 0."""
    counts: Counter[str] = Counter()
    try:
        folders = parse(metadata.get("ss_tag_frequency", "{}"))
    except ValueError:
        folders = {}
    if isinstance(folders, dict):
        for tags in folders.values():
            if isinstance(tags, dict):
                counts.update({str(tag).strip(): n for tag, n in tags.items() if isinstance(n, int)})
    words = {phrase: 0 for phrase in (metadata.get("modelspec.trigger_phrase"),) if phrase}
    return words | dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:MAX_WORDS])


def _facts(metadata: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name, keys in _FACTS.items():
        value = next((metadata[key] for key in keys if metadata.get(key) not in (None, "", "None")), None)
        if value is not None:
            found[name] = printable(value[:300])
    return found


def _kind(kind: str, tensors: Mapping[str, Any]) -> str:
    title = {"lora": "LoRA"}.get(kind, KINDS[kind].title)
    if kind == "lora" and tensors["down"].ndim == 4 and tensors["down"].shape[2:] != (1, 1):
        title = "LoCon"
    if "mid" in tensors or "t1" in tensors or "t2" in tensors:
        title += " (Tucker)"
    return title if "magnitude" not in tensors else "DoRA" if kind == "lora" else f"{title} with DoRA"


def _block(target: Target) -> str:
    prefix = {"unet": "", "text_encoder": "text", "text_encoder_2": "text2"}[target.component]
    found = _BLOCK.search(target.module)
    if found is None:
        return f"{prefix}.other" if prefix else "other"
    place = (
        f"{found['stage']}.{found['number']}" if found["stage"] else "mid" if found["mid"] else found["layer"]
    )
    return f"{prefix}.{place}" if prefix else place


def _natural(place: str) -> tuple[Any, ...]:
    stages = {"down": 0, "input": 0, "mid": 1, "up": 2, "output": 2, "other": 3, "text": 4, "text2": 5}
    head, _, rest = place.partition(".")
    return stages.get(head, 6), int(rest) if rest.isdigit() else 0, place


def _counted(values: Any) -> dict[Any, int]:
    return dict(sorted(Counter(values).items(), key=lambda pair: (-pair[1], str(pair[0]))))
