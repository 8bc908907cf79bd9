"""peft: `base_model.model.….lora_A.weight` in a folder with `adapter_config.json`.

Source: huggingface/peft `utils/save_and_load.py`, `tuners/{lora,loha,lokr}/config.py`.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.strangers_json import parse

from ..adapter import Delta
from ..deltas.kinds import ANY, KINDS
from ..errors import LoRAError
from ..names import TEXT_MODEL
from .kohya import LYCORIS, REFUSED
from .layout import Layout, Part
from .peft_patterns import MAX_KEYS, readable

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
SUFFIXES = {
    "lora_A.weight": Part("lora", "down"),
    "lora_B.weight": Part("lora", "up"),
    "lora_B.bias": Part("lora", "up_bias"),
    "lora_A.default.weight": Part("lora", "down"),
    "lora_B.default.weight": Part("lora", "up"),
    "lora_magnitude_vector": Part(ANY, "magnitude"),
    "lora_magnitude_vector.weight": Part(ANY, "magnitude"),
    **LYCORIS,
}
_REFUSED = {
    **REFUSED,
    "lora_embedding_A": "LoRA of an embedding",
    "lora_embedding_B": "LoRA of an embedding",
    "oft_r": "OFT",
    "oft_R.weight": "OFT",
    "ia3_l": "IA³",
    "base_layer.bias": "a bias of the model itself (bias=…)",
}
LAYOUT = Layout(
    "peft",
    "peft's adapters of one model",
    {"base_model.model.": "unet"},
    SUFFIXES,
    canonical=lambda part, tensor: canonical(part, tensor),
    refused=_REFUSED,
)
"""Its keys do not say which model: the folder's name does, or the modules' names."""
_DEFAULT_RANK = 8
"""peft's, where its configuration has none."""
_MOVING_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""`init_lora_weights` of peft that take from the base what the adapter starts with."""
_TEXT = re.compile(r"(text_model\.)?(encoder\.layers|embeddings|final_layer_norm)\b|text_projection$")


def canonical(part: Part, tensor: Tensor) -> Tensor:
    """peft's magnitude, (out) of a linear layer or (1, out, 1, 1) of a convolution, as (out, 1, …)."""
    if part.tensor == "magnitude" and tensor.ndim in (1, 4) and tensor.shape[0] in (1, tensor.numel()):
        return tensor.reshape(-1, *[1] * max(tensor.ndim - 1, 1))
    return tensor


def component_of(module: str) -> str:
    """Which model a module's name is of."""
    return "text_encoder" if _TEXT.match(module) else "unet"


def read_configuration(folder: Path) -> dict[str, Any]:
    """`adapter_config.json`.

    Raises:
        LoRAError: it is missing, or no JSON object.
    """
    path = folder / CONFIG
    try:
        configuration = parse(path.read_bytes())
    except FileNotFoundError:
        raise LoRAError(f"{path} is missing; without it the alpha of this peft adapter is unknown") from None
    except ValueError as error:
        raise LoRAError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(configuration, dict):
        raise LoRAError(f"{path} must hold a JSON object")
    check_configuration(configuration, path)
    return configuration


def check_configuration(configuration: Mapping[str, Any], where: object) -> None:
    """Refuse what would make another change than the adapter's own.

    Args:
        where: the file that it is from, for the sentence.

    Raises:
        LoRAError: the adapter belongs to a changed base, a number in it is none, or a key of `alpha_pattern` is a
            regular expression that no name is.
    """
    start = configuration.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_MOVING_THE_BASE):
        raise LoRAError(
            f"{where}: this adapter was started by {start}, which changed the model's own weights too, so it is no "
            "change of the model as it was; save it again in peft with path_initial_model_for_weight_conversion"
        )
    pattern = configuration.get("alpha_pattern") or {}
    if not isinstance(pattern, dict):
        raise LoRAError(
            f"{where}: alpha_pattern must be an object of numbers by module, not {reprlib.repr(pattern)}"
        )
    told = {name: configuration.get(name) for name in ("lora_alpha", "alpha", "r")}
    numbers = {name: value for name, value in told.items() if value is not None}
    for name, value in [
        *numbers.items(),
        *((f"alpha_pattern[{reprlib.repr(key)}]", n) for key, n in pattern.items()),
    ]:
        if not _is_finite(value):
            raise LoRAError(f"{where}: {name} must be a finite number, not {reprlib.repr(value)}")
    if len(pattern) > MAX_KEYS:
        raise LoRAError(f"{where}: alpha_pattern has {len(pattern)} names, more than any model has modules")
    for key in pattern:
        if readable(key) is None:
            raise LoRAError(
                f"{where}: alpha_pattern has the regular expression {reprlib.repr(key)}; of a stranger's "
                "only names of modules are read, with ^, $, ., .* and |. Name the modules one by one"
            )


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def with_alphas(deltas: Mapping[str, Delta], configuration: Mapping[str, Any]) -> dict[str, Delta]:
    """Deltas with the alpha that peft's configuration gives each; rsLoRA's α/√r is written as an α/r."""
    from ..deltas import rank_of

    found = {}
    common = configuration.get("lora_alpha", configuration.get("alpha"))
    pattern = _by_name(configuration.get("alpha_pattern"))
    for module, delta in deltas.items():
        alpha = next((value for names, value in pattern if names.match(module)), common)
        if delta.alpha is not None or not isinstance(alpha, int | float):
            found[module] = delta
            continue
        rank = rank_of(delta) if delta.kind not in ("full", "norm") else 1
        if delta.kind == "lokr" and {"w1", "w2"} <= delta.tensors.keys():
            # LyCORIS scales nothing where both factors are whole; peft scales by α and the rank it was told.
            told = _told_rank(module, configuration)
            factor = alpha / told
            whole = delta.tensors if factor == 1 else {**delta.tensors, "w1": delta.tensors["w1"] * factor}
            found[module] = replace(delta, tensors=whole, alpha=float(told))
            continue
        if configuration.get("use_rslora"):
            alpha = alpha * math.sqrt(rank)
        found[module] = replace(delta, alpha=float(alpha))
    return found


def _by_name(pattern: Mapping[str, Any] | None) -> list[tuple[re.Pattern[str], Any]]:
    """peft's pattern of values by module; keys that cannot be read say nothing."""
    return [(names, value) for key, value in (pattern or {}).items() if (names := readable(key))]


def _told_rank(module: str, configuration: Mapping[str, Any]) -> int:
    """What peft divides alpha by where the tensors have no rank of their own.

    Raises:
        LoRAError: the configuration does not say it in a way that can be read.
    """
    pattern = configuration.get("rank_pattern") or {}
    if not isinstance(pattern, dict) or len(pattern) > MAX_KEYS or not all(map(readable, pattern)):
        raise LoRAError(f"the rank of {module} is in rank_pattern, of which only names of modules are read")
    told = next((value for names, value in _by_name(pattern) if names.match(module)), None)
    rank = configuration.get("r") or _DEFAULT_RANK if told is None else told
    if not _is_finite(rank) or rank <= 0:
        raise LoRAError(f"the rank of {module} must be a number above 0, not {reprlib.repr(rank)}")
    return int(rank)


def refuse(deltas: Mapping[str, Delta], layout: str, kinds: Collection[str]) -> None:
    """Say what a layout cannot hold.

    Raises:
        LoRAError: another kind, tensors without a place, or a DoRA over columns.
    """
    for module, delta in deltas.items():
        if delta.kind not in kinds:
            raise LoRAError(
                f"{module} is a {KINDS[delta.kind].title}, which {layout} files cannot hold; kohya files can"
            )
        unplaced = set(delta.tensors) & {"mid", "bias"}
        if unplaced:
            raise LoRAError(
                f"{module} has {' and '.join(sorted(unplaced))}, which {layout} files cannot hold; kohya files can"
            )
        magnitude = delta.tensors.get("magnitude")
        if magnitude is not None and (delta.kind != "lora" or magnitude.shape[0] != magnitude.numel()):
            raise LoRAError(
                f"{module} is a DoRA over its columns or of a {delta.kind}, which {layout} files cannot hold; "
                "kohya files can"
            )


def tensors(deltas: Mapping[str, Delta]) -> dict[str, Tensor]:
    """`module.lora_A.weight` and so on, without any prefix."""
    written = {}
    for module, delta in deltas.items():
        for name, tensor in delta.tensors.items():
            if name == "magnitude":
                convolution = delta.tensors["down"].ndim == 4
                tensor = tensor.reshape(1, -1, 1, 1) if convolution else tensor.reshape(-1)
            written[f"{module}.{_WRITTEN[delta.kind, name]}"] = tensor
    return written


_WRITTEN = {(part.kind, part.tensor): suffix for suffix, part in LYCORIS.items()} | {
    ("lora", "down"): "lora_A.weight",
    ("lora", "up"): "lora_B.weight",
    ("lora", "up_bias"): "lora_B.bias",
    ("lora", "magnitude"): "lora_magnitude_vector",
}


def configuration(deltas: Mapping[str, Delta]) -> dict[str, Any]:
    """peft's own configuration for these deltas: rank and alpha of most, patterns for the others.

    Raises:
        LoRAError: kinds are mixed; peft has one for an adapter.
    """
    from peft import LoHaConfig, LoKrConfig, LoraConfig

    kinds = {delta.kind for delta in deltas.values()}
    if len(kinds) != 1:
        raise LoRAError(f"a peft adapter is of one kind; here are {' and '.join(sorted(kinds))}")
    kind = kinds.pop()
    ranks = {module: _peft_rank(delta) for module, delta in deltas.items()}
    alphas = {module: _peft_alpha(delta, ranks[module]) for module, delta in deltas.items()}
    rank, alpha = _most_common(ranks.values()), _most_common(alphas.values())
    common: dict[str, Any] = {
        "r": rank,
        "target_modules": sorted(map(bare, deltas)),
        "rank_pattern": {_pattern(m): r for m, r in sorted(ranks.items()) if r != rank},
        "alpha_pattern": {_pattern(m): a for m, a in sorted(alphas.items()) if a != alpha},
    }
    if kind == "lora":
        config: Any = LoraConfig(
            lora_alpha=alpha,
            use_dora=any("magnitude" in delta.tensors for delta in deltas.values()),
            lora_bias=any("up_bias" in delta.tensors for delta in deltas.values()),
            **common,
        )
    elif kind == "loha":
        config = LoHaConfig(alpha=alpha, use_effective_conv2d=_tucker(deltas, "t1"), **common)
    else:
        config = LoKrConfig(
            alpha=alpha,
            use_effective_conv2d=_tucker(deltas, "t2"),
            decompose_both=any("w1_a" in delta.tensors for delta in deltas.values()),
            decompose_factor=_kronecker_factor(deltas),
            **common,
        )
    plain = {
        key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()
    }
    # What a writer's version of peft says about itself would make equal files differ.
    plain.pop("peft_version", None)
    plain["inference_mode"] = True
    return plain


def bare(module: str) -> str:
    """As peft finds it in models of every version of transformers: those before 5 have a level more, and peft looks at ends."""
    return module.removeprefix(TEXT_MODEL)


def _pattern(module: str) -> str:
    return re.escape(bare(module)) if module.startswith(TEXT_MODEL) else f"^{re.escape(module)}"


def _kronecker_factor(deltas: Mapping[str, Delta]) -> int:
    """The `decompose_factor` by which peft splits each weight as these deltas are split.

    Raises:
        LoRAError: there is no single one; peft has one for an adapter.
    """
    from peft.tuners.lokr.layer import factorization

    shapes = [_kronecker_shapes(delta) for delta in deltas.values()]
    for factor in (-1, *sorted({max(first) for first, _ in shapes})):
        if all(
            factorization(outer * inner, factor)[0] == outer
            for first, second in shapes
            for outer, inner in zip(first, second, strict=True)
        ):
            return factor
    raise LoRAError(
        "these LoKr modules are split by different factors, which peft files cannot hold; kohya files can"
    )


def _kronecker_shapes(delta: Delta) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of both Kronecker factors; the columns of the second without a kernel."""
    tensors = delta.tensors
    first = tensors["w1"].shape if "w1" in tensors else (len(tensors["w1_a"]), tensors["w1_b"].shape[1])
    if "w2" in tensors:
        second = tensors["w2"].shape[:2]
    elif "t2" in tensors:
        second = (tensors["w2_a"].shape[1], tensors["w2_b"].shape[1])
    else:
        second = (len(tensors["w2_a"]), tensors["w2_b"].shape[1])
    return (int(first[0]), int(first[1])), (int(second[0]), int(second[1]))


def _most_common(values: Iterable[Any]) -> Any:
    """Of several as common as each other the smallest, whatever their order."""
    return min(Counter(values).items(), key=lambda pair: (-pair[1], pair[0]))[0]


def _tucker(deltas: Mapping[str, Delta], name: str) -> bool:
    return any(name in delta.tensors for delta in deltas.values())


def _peft_rank(delta: Delta) -> int:
    """The rank for peft. Where both Kronecker factors are whole it is a name only, and LyCORIS's is in alpha."""
    from ..deltas import is_scaled, rank_of

    rank, alpha = rank_of(delta), delta.alpha or 0
    return int(alpha) if not is_scaled(delta) and alpha >= rank and alpha == int(alpha) else rank


def _peft_alpha(delta: Delta, rank: int) -> float | int:
    from ..deltas import is_scaled

    alpha = (delta.alpha or rank) if is_scaled(delta) else rank
    return int(alpha) if alpha == int(alpha) else alpha
