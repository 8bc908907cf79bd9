"""Where in the picture each word of the prompt is looked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mezzotint import Block, Extension, Field, Run, hookimpl
from mezzotint.errors import PlanError, RequestError

from ..attention_grid import attention_grid
from ..several import Several
from ..steps import End, Start, within
from .words import refuse_missing, tokens_of_words

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class AttentionMaps(Extension, name="attention-maps"):
    """A heat map for each word of the prompt: how much each place of the picture listens to it (DAAM).

    Cross-attention of the positive prompt, averaged over heads, layers and steps at the size of the latents (Tang et
    al. 2023). A layer counts by the number of its places, as coarse ones cannot point, and a map loses a part of what
    the other words' maps have there. Publishes `maps`, for each image a mapping of word to tensor (h, w), and
    `overlays`, the same over the picture.
    """

    words: Several = Field(
        (), description="words or phrases of the prompt; default: all but articles, prepositions and the like"
    )
    layers: Several = Field(
        ("up.**.attn2",), description="cross-attention layers that count; default: the decoder's"
    )
    apart: float = Field(
        0.3,
        ge=0,
        description="how much of the other words' mean map is taken away; 0 for none, as in DAAM",
    )
    start: Start = 0.0
    end: End = 1.0

    @hookimpl
    def step_begin(self, run: Run) -> None:
        """Refuse at the first step what could not be read."""
        steps = run.step.count  # type: ignore[union-attr]
        if not any(self.start <= index / steps < self.end for index in range(steps)):
            raise RequestError(
                f"attention-maps: none of {steps} steps lies between start={self.start:g} and end={self.end:g} "
                "(fractions, end not included); widen them"
            )
        self._sums(run)

    @hookimpl(at=lambda self: self.layers)
    def attention_probe(self, layer: Block, probabilities: Tensor, run: Run) -> None:
        """Add one layer of one step."""
        if within(run, self.start, self.end) and any(pass_.name == "positive" for pass_ in run.passes):
            self._sums(run).add(probabilities[run.rows("positive")], run)

    @hookimpl
    def images(self, images: list[Image], run: Run) -> None:
        """Publish the maps, and lay them over the pictures."""
        from .heat import overlay

        maps = self._sums(run).means(self.apart)
        overlays = [
            {word: overlay(image, heat, word) for word, heat in of_image.items()}
            for image, of_image in zip(images, maps, strict=True)
        ]
        run.publish(self, maps=maps, overlays=overlays)

    def _sums(self, run: Run) -> MapSums:
        return run.state(self, lambda: MapSums.of(self, run))


@dataclass(eq=False)
class MapSums:
    """The maps of one run as they add up."""

    selections: list[Tensor]
    """For each prompt, (tokens, words): how much a token counts for a word; columns add up to 1."""
    words: list[tuple[str, ...]]
    """Of each prompt."""
    sums: list[Tensor]
    """For each image, (words, h, w)."""
    places: int = 0
    """Of all maps in each sum: their weights together."""

    @classmethod
    def of(cls, options: AttentionMaps, run: Run) -> MapSums:
        """Empty ones for the words of the run's prompts."""
        import torch

        others = run.plan.points.get("encode_prompt", ())
        if others:
            raise PlanError(
                f"attention-maps finds words with the model's own tokenizer, and {others[0].label} "
                f"({others[0].owner}) encodes the prompt; use one of them"
            )
        refuse_missing(options.words, run.request.prompts)
        tokenizer, found, selections = run.pipe.tokenizer, [], []
        for prompt in run.request.prompts:
            positions = tokens_of_words(tokenizer, prompt, options.words)
            selection = torch.zeros(tokenizer.model_max_length, len(positions), device=run.pipe.device)
            for column, tokens in enumerate(positions.values()):
                selection[tokens, column] = 1 / len(tokens)
            found.append(tuple(positions))
            selections.append(selection)
        width, height = (side // run.pipe.vae_scale_factor for side in run.request.size)
        words = [len(found[k // run.request.n]) for k in range(run.n)]
        sums = [torch.zeros(count, height, width, device=run.pipe.device) for count in words]
        return cls(selections, found, sums)

    def add(self, probabilities: Tensor, run: Run) -> None:
        """One layer's (n, heads, queries, keys) for the positive prompts, enlarged to the latents."""
        height, width = self.sums[0].shape[-2:]
        h, w = attention_grid(probabilities.shape[2], height, width)
        # Keys beyond the prompt's own are tokens that some extension appended.
        keys = min(len(self.selections[0]), probabilities.shape[3])
        for image in range(run.n):
            selection = self.selections[image // run.request.n][:keys]
            if not selection.shape[1]:
                continue
            of_words = probabilities[image, :, :, :keys].float() @ selection
            heat = of_words.mean(0).T.reshape(1, -1, h, w)
            self.sums[image] += h * w * enlarge(heat, height, width)[0]
        self.places += h * w

    def means(self, apart: float) -> list[Mapping[str, Tensor]]:
        """For each image, word → (h, w) on the CPU, without `apart` of the other words' mean.

        Raises:
            RequestError: no layer that counts ran at any step that counts.
        """
        if not self.places:
            raise RequestError(
                "attention-maps: no layer that counts ran between start and end, as a cache left it out at each of "
                "those steps; name other layers, widen them, or leave the cache out"
            )
        per_prompt = len(self.sums) // len(self.words)
        return [
            dict(zip(self.words[k // per_prompt], told_apart(total / self.places, apart).cpu(), strict=True))
            for k, total in enumerate(self.sums)
        ]


def told_apart(maps: Tensor, part: float) -> Tensor:
    """(words, h, w), each without a part of the mean of the others: where two words look, the one that looks more."""
    if len(maps) < 2:
        return maps
    others = (maps.sum(0) - maps) / (len(maps) - 1)
    return maps - part * others


def enlarge(maps: Tensor, height: int, width: int) -> Tensor:
    """(1, words, h, w) → (1, words, height, width), bicubic, within the range of what came in."""
    from torch.nn.functional import interpolate

    if maps.shape[-2:] == (height, width):
        return maps
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return interpolate(maps, (height, width), mode="bicubic").clamp(low, high)
