"""Checks of what hooks return, made where it enters; each error names the extension and both shapes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ..errors import HookReturnError
from ..hooks.blocks import Block, BlockOutput
from ..hooks.conditioning import Conditioning, Pass
from ..hooks.residuals import Residuals
from ..pipeline.request import Request

if TYPE_CHECKING:
    from .plan import Entry


def check_tensor(entry: Entry, answer: Any, like: Any, where: str = "") -> Any:
    """A tensor of the same shape, dtype and device."""
    if answer is like:
        return answer
    _require_tensor(entry, answer, where)
    for aspect in ("shape", "dtype", "device"):
        got, expected = getattr(answer, aspect), getattr(like, aspect)
        if got != expected:
            raise _wrong(entry, f"a tensor of {aspect} {_show(got)}", f"{_show(expected)}", where)
    return answer


def writes_to(value: Any) -> int:
    """How often a tensor was written to in place, as torch counts it; 0 for what has no count."""
    try:
        count: int = getattr(value, "_version", 0)
    except RuntimeError:
        # Tensors made in inference mode are not counted.
        return 0
    return count


def written_into(entries: Sequence[Entry], name: str, where: str = "") -> HookReturnError:
    """One of these hooks wrote into its argument: others hold that tensor (skip connections, the caller)."""
    who = " or ".join(f"{entry.label}, {entry.owner}," for entry in entries)
    return HookReturnError(
        f"extension {who} wrote into {name} in place at {entries[0].point}{where}; "
        "return a new tensor (x * 2, not x.mul_(2))"
    )


def check_unet_input(entry: Entry, answer: Any, like: Any) -> Any:
    """Like what came in, but with any number of channels."""
    _require_tensor(entry, answer)
    channels = answer.shape[1] if answer.dim() == like.dim() else -1
    expected = (*like.shape[:1], channels, *like.shape[2:])
    if tuple(answer.shape) != expected or answer.dtype != like.dtype or answer.device != like.device:
        raise _wrong(
            entry,
            f"{_show(answer.shape)} {answer.dtype} on {answer.device}",
            f"{_show(like.shape)} {like.dtype} on {like.device}, where only channels may differ",
        )
    return answer


def check_latents(entry: Entry, answer: Any, like: Any) -> Any:
    """As many latents with as many channels; height and width may differ."""
    _require_tensor(entry, answer)
    if answer.dim() != like.dim() or answer.shape[:2] != like.shape[:2] or answer.dtype != like.dtype:
        raise _wrong(
            entry, f"{_show(answer.shape)} {answer.dtype}", f"{_show(like.shape[:2])} × any size {like.dtype}"
        )
    return answer


def check_timesteps(entry: Entry, answer: Any, like: Any) -> Any:
    """A 1-D tensor with at least one timestep."""
    _require_tensor(entry, answer)
    if answer.dim() != 1 or not len(answer):
        raise _wrong(
            entry, f"timesteps of shape {_show(answer.shape)}", "a 1-D tensor with at least one timestep"
        )
    if answer.dtype.is_complex or not answer.isfinite().all():
        raise _wrong(entry, f"timesteps {_show(answer.tolist())}", "finite numbers")
    return answer


def check_block(entry: Entry, answer: Any, state: BlockOutput, block: Block) -> BlockOutput:
    """Hidden states, or hidden states and skips, of the shapes that came in."""
    hidden_states, skips = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, state.skips)
    where = f" at {block}"
    hidden_states = check_tensor(entry, hidden_states, state.hidden_states, where)
    if skips is not state.skips:
        if not isinstance(skips, tuple | list) or len(skips) != len(state.skips):
            got = len(skips) if isinstance(skips, tuple | list) else type(skips).__name__
            raise _wrong(entry, f"skips: {got}", f"{len(state.skips)} tensors", where)
        skips = tuple(
            check_tensor(entry, skip, like, where) for skip, like in zip(skips, state.skips, strict=True)
        )
    return BlockOutput(hidden_states, skips)


def check_conditioning(
    entry: Entry, answer: Any, rows: int, dim: int, like: Any, added: Collection[str] = ()
) -> Conditioning:
    """A `Conditioning` with `rows` rows throughout and embeddings (rows, tokens, dim), in the dtype and on the device of `like`.

    `added` names what must be among its added conditions.
    """
    if not isinstance(answer, Conditioning):
        raise _wrong(entry, _kind(answer), "a mezzotint.Conditioning")
    embeddings = answer.embeddings
    if embeddings.dim() != 3 or embeddings.shape[0] != rows or embeddings.shape[2] != dim:
        raise _wrong(entry, f"embeddings of shape {_show(embeddings.shape)}", f"({rows}, tokens, {dim})")
    if embeddings.dtype != like.dtype or embeddings.device != like.device:
        got = f"embeddings in {embeddings.dtype} on {embeddings.device}"
        raise _wrong(entry, got, f"{like.dtype} on {like.device}")
    mask = answer.attention_mask
    if mask is not None and mask.shape != embeddings.shape[:2]:
        raise _wrong(entry, f"a mask of shape {_show(mask.shape)}", _show(embeddings.shape[:2]))
    for name, tensor in answer.added.items():
        if tensor.shape[0] != rows:
            raise _wrong(entry, f"added condition {name!r} with {tensor.shape[0]} rows", f"{rows} rows")
    for name in added:
        if name not in answer.added:
            raise _wrong(
                entry,
                f"a Conditioning without {name}",
                f"{name} in its added conditions, as this U-Net takes it",
            )
    return answer


def check_block_output(
    entry: Entry, answer: Any, block: Block, skip_count: int, computed: Sequence[BlockOutput]
) -> BlockOutput:
    """A `BlockOutput` like the block's own, if that was computed, and with as many skip connections."""
    where = f" at {block}"
    if not isinstance(answer, BlockOutput):
        raise _wrong(entry, _kind(answer), "forward(hidden_states) or a mezzotint.BlockOutput", where)
    _require_tensor(entry, answer.hidden_states, where)
    if len(answer.skips) != skip_count:
        raise _wrong(entry, f"a BlockOutput with {len(answer.skips)} skips", f"{skip_count}", where)
    for own in computed:
        check_tensor(entry, answer.hidden_states, own.hidden_states, where)
        for skip, like in zip(answer.skips, own.skips, strict=True):
            check_tensor(entry, skip, like, where)
    return answer


def check_passes(entry: Entry, answer: Any) -> tuple[Pass, ...]:
    """At least one `Pass`, no two of one name."""
    passes = tuple(answer) if isinstance(answer, tuple | list) else ()
    if not passes or not all(isinstance(pass_, Pass) for pass_ in passes):
        raise _wrong(entry, f"passes {answer!r}", "a tuple of mezzotint.Pass, at least one")
    if len({pass_.name for pass_ in passes}) < len(passes):
        raise _wrong(entry, f"passes {[pass_.name for pass_ in passes]}", "a name for each of its own")
    return passes


def check_changed_passes(entry: Entry, answer: Any, like: tuple[Pass, ...]) -> tuple[Pass, ...]:
    """At least one `Pass`, no two of one name; where any of those that came in is missing, `positive` is there."""
    passes = check_passes(entry, answer)
    names = {pass_.name for pass_ in passes}
    missing = [pass_.name for pass_ in like if pass_.name not in names]
    if missing and "positive" not in names:
        raise _wrong(
            entry,
            f"passes {sorted(names)}, without {missing[0]}",
            "those that came in, or at least 'positive'",
        )
    return passes


def check_nothing(entry: Entry, answer: Any) -> None:
    """Nothing at all."""
    raise _wrong(entry, _kind(answer), f"nothing: {entry.point} only looks")


def check_residuals(
    entry: Entry, answer: Any, sample: Any, shapes: Mapping[str, Sequence[tuple[int, ...]]]
) -> Residuals:
    """Residuals of the shapes that the U-Net expects, with the sample's rows or one."""
    if not isinstance(answer, Residuals):
        raise _wrong(entry, _kind(answer), "mezzotint.Residuals")
    given = {
        "down": answer.down,
        "mid": () if answer.mid is None else (answer.mid,),
        "adapter": answer.adapter,
    }
    expected = dict(shapes)
    if len(answer.adapter) > len(shapes["adapter"]):
        # The adapters of SDXL have one more, for the middle block.
        expected["adapter"] = [*shapes["adapter"], *shapes["mid"]]
    for kind, tensors in given.items():
        if tensors and len(tensors) != len(expected[kind]):
            raise _wrong(entry, f"{len(tensors)} {kind} residuals", f"{len(shapes[kind])} for this U-Net")
        for position, (tensor, shape) in enumerate(zip(tensors, expected[kind], strict=False)):
            if tuple(tensor.shape[1:]) != shape or tensor.shape[0] not in (1, sample.shape[0]):
                raise _wrong(
                    entry,
                    f"{kind} residual {position} of shape {_show(tensor.shape)}",
                    f"({sample.shape[0]}, *{shape})",
                )
            if tensor.dtype != sample.dtype or tensor.device != sample.device:
                raise _wrong(
                    entry,
                    f"{kind} residual in {tensor.dtype} on {tensor.device}",
                    f"{sample.dtype} on {sample.device}",
                )
    return answer


def check_tokens(entry: Entry, answer: Any, query: Any, layer: Block) -> list[Any]:
    """Sets of tokens for a layer with this query (rows, heads, queries, dim): one, or several."""
    sets = list(answer) if isinstance(answer, list | tuple) else [answer]
    return [_check_token_set(entry, tokens, query, layer) for tokens in sets]


def _check_token_set(entry: Entry, answer: Any, query: Any, layer: Block) -> Any:
    """Keys and values projected for a layer with this query: its rows, or one."""
    from ..unet.attention import AttentionTokens

    width, where = query.shape[1] * query.shape[3], f" at {layer}"
    if not isinstance(answer, AttentionTokens):
        raise _wrong(entry, f"{answer!r}", "mezzotint.AttentionTokens", where)
    for name in ("key", "value"):
        tensor = getattr(answer, name)
        if tensor.dim() != 3 or tensor.shape[0] not in (1, len(query)) or tensor.shape[2] != width:
            raise _wrong(
                entry, f"a {name} of shape {_show(tensor.shape)}", f"({len(query)}, tokens, {width})", where
            )
    return answer


def check_request(entry: Entry, answer: Any) -> Request:
    """A request."""
    if not isinstance(answer, Request):
        raise _wrong(entry, _kind(answer), "a Request: dataclasses.replace(request, …)")
    return answer


def check_scheduler(entry: Entry, answer: Any) -> Any:
    """Anything with diffusers' scheduler protocol."""
    return check_instance("set_timesteps", "step")(entry, answer)


def check_context(entry: Entry, answer: Any) -> AbstractContextManager[Any]:
    """A context manager."""
    if not isinstance(answer, AbstractContextManager):
        raise _wrong(
            entry,
            _kind(answer),
            "a context manager: decorate the method with contextlib.contextmanager below @hookimpl",
        )
    return answer


def check_instance(*methods: str) -> Callable[[Entry, Any], Any]:
    """An object with these methods."""

    def check(entry: Entry, answer: Any) -> Any:
        missing = [name for name in methods if not callable(getattr(answer, name, None))]
        if missing:
            raise _wrong(
                entry, f"{_kind(answer)} without {missing[0]}", f"an object with {', '.join(methods)}"
            )
        return answer

    return check


def check_images(entry: Entry, answer: Any, like: list[Any]) -> list[Any]:
    """As many PIL images."""
    from PIL.Image import Image

    if not isinstance(answer, list) or not all(isinstance(image, Image) for image in answer):
        raise _wrong(entry, f"{answer!r}", "a list of PIL images")
    if len(answer) != len(like):
        raise _wrong(entry, f"{len(answer)} images", f"{len(like)}")
    return answer


def _require_tensor(entry: Entry, answer: Any, where: str = "") -> None:
    from torch import Tensor

    if not isinstance(answer, Tensor):
        raise _wrong(entry, _kind(answer), "a tensor", where)


def _wrong(entry: Entry, got: str, expected: str, where: str = "") -> HookReturnError:
    return HookReturnError(
        f"extension {entry.label}, {entry.owner}, returned from {entry.point}{where} {got}; expected {expected}"
    )


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _show(value: Any) -> str:
    return str(tuple(value)) if hasattr(value, "numel") else str(value)
