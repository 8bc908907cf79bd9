"""A typed method for every run hook: calls the implementations in plan order, checks what they return,
and says whose they were when they fail.

pluggy registers and validates; it is not asked to call, because a chain hands each answer to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..hooks import residuals as residual
from ..hooks.blocks import Block, BlockOutput
from ..hooks.conditioning import Conditioning, Pass
from .plan import Entry, Plan
from .returns import (
    check_block,
    check_block_output,
    check_changed_passes,
    check_conditioning,
    check_context,
    check_images,
    check_instance,
    check_latents,
    check_nothing,
    check_passes,
    check_request,
    check_residuals,
    check_scheduler,
    check_tensor,
    check_timesteps,
    check_tokens,
    check_unet_input,
    writes_to,
    written_into,
)

if TYPE_CHECKING:
    from diffusers import SchedulerMixin
    from PIL.Image import Image
    from torch import Tensor
    from torch.nn import Module

    from ..hooks.guidance import Guidance
    from ..hooks.residuals import Residuals
    from ..pipeline.pipeline import Pipeline
    from ..pipeline.request import Request
    from ..pipeline.run import Run
    from ..unet.attention import AttentionProcessor, AttentionTokens

Value = TypeVar("Value")


class Calls:
    """The run hooks of one plan. Every method is a no-op where no extension acts."""

    def __init__(self, plan: Plan) -> None:
        self._entries = plan.points
        self._at: dict[tuple[str, str], tuple[Entry, ...]] = {}
        for point, entries in plan.points.items():
            for entry in entries:
                for place in entry.at:
                    self._at[point, place] = (*self._at.get((point, place), ()), entry)

    def acts(self, point: str, place: str | None = None) -> bool:
        """Whether any extension acts at a hook point (at a block or layer, if given)."""
        return point in self._entries if place is None else (point, place) in self._at

    def places(self, *points: str) -> list[str]:
        """Blocks or layers at which any of the hook points is in use."""
        return list(dict.fromkeys(place for point, place in self._at if point in points))

    # Before the run.

    def request(self, request: Request, pipe: Pipeline) -> Request:
        """What is asked for after every extension's change; there is no run yet."""
        for entry in self._entries.get("request", ()):
            with noting(entry):
                values = {"request": request, "pipe": pipe}
                answer = entry.function(*map(values.__getitem__, entry.arguments))
                request = request if answer is None else check_request(entry, answer)
        return request

    # Once.

    def patches(
        self, point: str, name: str, model: Module, pipe: Pipeline
    ) -> list[tuple[Entry, Callable[[], AbstractContextManager[Any] | None]]]:
        """`patch_unet` or `patch_text_encoder`: for each extension, in order, what makes its context."""
        model_argument = point.removeprefix("patch_")
        return [
            (entry, partial(_make_context, entry, {model_argument: model, "name": name, "pipe": pipe}))
            for entry in self._entries.get(point, ())
        ]

    def guidance(self, run: Run) -> Guidance | None:
        """The guidance of an extension, its answers checked at every step, or `None`."""
        for entry in self._entries.get("guidance", ()):
            answer = self._ask(entry, {"run": run}, run, check_instance("passes", "combine"))
            if answer is not None:
                return _CheckedGuidance(entry, answer)
        return None

    def encode_prompt(
        self, prompts: list[str], like: Tensor, dim: int, added: Collection[str], run: Run
    ) -> Conditioning | None:
        """Embeddings (len(prompts), tokens, dim) from an extension's encoder, in `like`'s dtype, or `None`.

        `added` names what the U-Net takes beside them.
        """
        return self._exclusive(
            "encode_prompt",
            {"prompts": prompts, "run": run},
            run,
            lambda entry, answer: check_conditioning(entry, answer, len(prompts), dim, like, added),
        )

    def make_scheduler(self, run: Run) -> SchedulerMixin | None:
        """The scheduler of an extension, or `None`."""
        return self._exclusive("make_scheduler", {"run": run}, run, check_scheduler)

    def timesteps(self, timesteps: Tensor, scheduler: SchedulerMixin, run: Run) -> Tensor:
        """The timesteps after every extension's change."""
        values = {"timesteps": timesteps, "scheduler": scheduler, "run": run}
        return self._chain("timesteps", "timesteps", values, run, check_timesteps)

    def initial_latents(self, noise: Tensor, scheduler: SchedulerMixin, run: Run) -> Tensor | None:
        """First latents of an extension, or `None`."""
        values = {"noise": noise, "scheduler": scheduler, "run": run}
        return self._exclusive(
            "initial_latents", values, run, lambda entry, answer: check_tensor(entry, answer, noise)
        )

    # Every step.

    def step_begin(self, latents: Tensor, run: Run) -> Tensor:
        """Latents at the start of a step."""
        return self._chain("step_begin", "latents", {"latents": latents, "run": run}, run, check_tensor)

    def passes(self, passes: tuple[Pass, ...], run: Run) -> tuple[Pass, ...]:
        """The passes of a step; what came in, where no extension changes them."""
        return self._chain("passes", "passes", {"passes": passes, "run": run}, run, check_changed_passes)

    def conditioning(self, conditioning: Conditioning, pass_: Pass, run: Run) -> Conditioning:
        """The conditioning of one pass."""
        values = {"conditioning": conditioning, "pass_": pass_, "run": run}
        rows, dim = conditioning.rows, conditioning.embeddings.shape[2]
        return self._chain(
            "conditioning",
            "conditioning",
            values,
            run,
            lambda entry, answer, like: check_conditioning(
                entry, answer, rows, dim, like.embeddings, like.added
            ),
        )

    def unet_residuals(
        self,
        sample: Tensor,
        timestep: Tensor,
        conditioning: Conditioning,
        shapes: Callable[[], Mapping[str, Sequence[tuple[int, ...]]]],
        run: Run,
    ) -> Residuals | None:
        """The sum of all residuals, or `None`; `shapes()` is what the U-Net expects."""
        values = {"sample": sample, "timestep": timestep, "conditioning": conditioning, "run": run}
        answers = self._collect(
            "unet_residuals",
            values,
            run,
            lambda entry, answer: check_residuals(entry, answer, sample, shapes()),
        )
        return residual.add(answers) if answers else None

    def unet_input(self, sample: Tensor, timestep: Tensor, run: Run) -> Tensor:
        """The input of the U-Net."""
        values = {"sample": sample, "timestep": timestep, "run": run}
        return self._chain("unet_input", "sample", values, run, check_unet_input)

    def time_embedding(self, emb: Tensor, timestep: Tensor, run: Run) -> Tensor:
        """The time embedding."""
        values = {"emb": emb, "timestep": timestep, "run": run}
        return self._chain("time_embedding", "emb", values, run, check_tensor)

    def unet_block_input(self, block: Block, entering: BlockOutput, run: Run) -> BlockOutput:
        """What enters a block."""
        return self._block("unet_block_input", block, entering, run)

    def unet_block(
        self,
        block: Block,
        forward: Callable[[Tensor], BlockOutput],
        entering: BlockOutput,
        computed: list[BlockOutput],
        skip_count: int,
        run: Run,
    ) -> BlockOutput | None:
        """The output of a block in place of the block, or `None` where nobody claims it.

        `computed` holds what the block itself gave, once `forward` was called: the answer has its shapes.
        """
        for entry in self._at.get(("unet_block", block.name), ()):
            values = {
                "block": block,
                "forward": forward,
                "hidden_states": entering.hidden_states,
                "skips": entering.skips,
                "run": run,
            }
            return self._ask(
                entry,
                values,
                run,
                lambda entry, answer: check_block_output(entry, answer, block, skip_count, computed),
            )
        return None

    def unet_block_output(self, block: Block, leaving: BlockOutput, run: Run) -> BlockOutput:
        """What leaves a block."""
        return self._block("unet_block_output", block, leaving, run)

    def attention_processor(self, layer: Block, run: Run) -> AttentionProcessor | None:
        """The processor of an extension for this layer, or `None`."""
        for entry in self._at.get(("attention_processor", layer.name), ()):
            answer = self._ask(entry, {"layer": layer, "run": run}, run, check_instance("__call__"))
            return None if answer is None else _CheckedProcessor(entry, answer, layer, run)
        return None

    def attention_probe(self, layer: Block, probabilities: Tensor, run: Run) -> None:
        """Show attention probabilities to every extension that asked for this layer."""
        values = {"layer": layer, "probabilities": probabilities, "run": run}
        for entry in self._at.get(("attention_probe", layer.name), ()):
            self._ask(entry, values, run, check_nothing)

    def cross_attention_tokens(self, layer: Block, query: Tensor, run: Run) -> list[AttentionTokens]:
        """Extra keys and values of every extension for a layer with this query (rows, heads, queries, dim)."""
        values = {"layer": layer, "run": run}
        answers = (
            self._ask(entry, values, run, lambda entry, answer: check_tokens(entry, answer, query, layer))
            for entry in self._at.get(("cross_attention_tokens", layer.name), ())
        )
        return [tokens for answer in answers if answer is not None for tokens in answer]

    def unet_output(self, prediction: Tensor, timestep: Tensor, run: Run) -> Tensor:
        """The U-Net's output for all passes."""
        values = {"prediction": prediction, "timestep": timestep, "run": run}
        return self._chain("unet_output", "prediction", values, run, check_tensor)

    def prediction(
        self, prediction: Tensor, predictions: Mapping[str, Tensor], latents: Tensor, run: Run
    ) -> Tensor:
        """The combined prediction."""
        values = {"prediction": prediction, "predictions": predictions, "latents": latents, "run": run}
        return self._chain("prediction", "prediction", values, run, check_tensor)

    def step_end(self, latents: Tensor, run: Run) -> Tensor:
        """Latents after the scheduler's step."""
        return self._chain("step_end", "latents", {"latents": latents, "run": run}, run, check_tensor)

    # After the loop.

    def latents(self, latents: Tensor, run: Run) -> Tensor:
        """Final latents."""
        return self._chain("latents", "latents", {"latents": latents, "run": run}, run, check_latents)

    def images(self, images: list[Image], run: Run) -> list[Image]:
        """Decoded images."""
        return self._chain("images", "images", {"images": images, "run": run}, run, check_images)

    # The slot kinds.

    def _ask(
        self, entry: Entry, values: Mapping[str, Any], run: Run, check: Callable[[Entry, Any], Value]
    ) -> Value | None:
        """One extension's answer, checked; an error says whose it was."""
        try:
            answer = entry.function(*map(values.__getitem__, entry.arguments))
            return None if answer is None else check(entry, answer)
        except BaseException as error:
            error.add_note(f"in {describe(entry, run)}")
            raise

    def _chain(
        self,
        point: str,
        name: str,
        values: dict[str, Any],
        run: Run,
        check: Callable[[Entry, Any, Any], Any],
    ) -> Any:
        entries = self._entries.get(point)
        if entries is None:
            return values[name]
        # Like `_ask` in a loop, written out because it runs at every step (benchmarks/hook_overhead.py).
        look_up = values.__getitem__
        value, writes = values[name], writes_to(values[name])
        try:
            for entry in entries:
                answer = entry.function(*map(look_up, entry.arguments))
                if answer is not None:
                    values[name] = check(entry, answer, values[name])
        except BaseException as error:
            error.add_note(f"in {describe(entry, run)}")
            raise
        if writes_to(value) != writes:
            raise written_into(entries, name)
        return values[name]

    def _collect(
        self, point: str, values: dict[str, Any], run: Run, check: Callable[[Entry, Any], Value]
    ) -> list[Value]:
        answers = (self._ask(entry, values, run, check) for entry in self._entries.get(point, ()))
        return [answer for answer in answers if answer is not None]

    def _exclusive(
        self, point: str, values: dict[str, Any], run: Run, check: Callable[[Entry, Any], Value]
    ) -> Value | None:
        answers = self._collect(point, values, run, check)
        return answers[0] if answers else None

    def _block(self, point: str, block: Block, state: BlockOutput, run: Run) -> BlockOutput:
        entries = self._at.get((point, block.name), ())
        tensors = (state.hidden_states, *state.skips)
        writes = [writes_to(tensor) for tensor in tensors]
        for entry in entries:
            values = {"block": block, "hidden_states": state.hidden_states, "skips": state.skips, "run": run}
            before = state
            state = self._ask(entry, values, run, partial(check_block, state=before, block=block)) or before
        if [writes_to(tensor) for tensor in tensors] != writes:
            raise written_into(entries, "hidden_states or skips", f" at {block}")
        return state


class _CheckedGuidance:
    """An extension's guidance: what it returns is checked, and its errors say whose they are."""

    def __init__(self, entry: Entry, guidance: Guidance) -> None:
        self._entry = entry
        self._guidance = guidance

    def passes(self, run: Run) -> tuple[Pass, ...]:
        with noting(self._entry, run):
            return check_passes(self._entry, self._guidance.passes(run))

    def combine(self, predictions: Mapping[str, Tensor], run: Run) -> Tensor:
        with noting(self._entry, run):
            like = next(iter(predictions.values()))
            return check_tensor(self._entry, self._guidance.combine(predictions, run), like)


class _CheckedProcessor:
    """An extension's attention processor: its output has its input's shape, and its errors say whose they are."""

    def __init__(self, entry: Entry, processor: AttentionProcessor, layer: Block, run: Run) -> None:
        self._entry = entry
        self._processor = processor
        self._layer = layer
        self._run = run

    def __call__(self, attn: Module, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        with noting(self._entry, self._run):
            answer = self._processor(attn, hidden_states, *args, **kwargs)
            return check_tensor(self._entry, answer, hidden_states, f" at {self._layer}")


@contextmanager
def noting(entry: Entry, run: Run | None = None, when: str = "") -> Iterator[None]:
    """Let errors from inside say whose they are."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"in {describe(entry, run)}{when}")
        raise


def describe(entry: Entry, run: Run | None = None) -> str:
    """`freeu (plugin blocks (mezzotint-blocks 0.1.0)), hook point unet_block_output, step 3 of 20`."""
    return f"extension {entry.label}, {entry.owner}, hook point {entry.point}{_when(run)}"


def _when(run: Run | None) -> str:
    if run is None or run.step is None:
        return ""
    return f", step {run.step.index + 1} of {run.step.count}"


def _make_context(entry: Entry, values: Mapping[str, Any]) -> AbstractContextManager[Any] | None:
    """What an extension returns from `patch_unet` or `patch_text_encoder`, checked."""
    with noting(entry):
        context = entry.function(*map(values.__getitem__, entry.arguments))
        return None if context is None else check_context(entry, context)
