"""Control modes: how strong each residual is, and in which passes it is added.

| mode | strength of residual i | passes |
|---|---|---|
| `balanced` | 1 | all |
| `prompt` ("my prompt is more important") | 0.825^(12 − i), the middle block last | all |
| `control` ("ControlNet is more important") | as `prompt` | those with the prompt, not the negative one |
| `guess` | 10^(i/n − 1), n encoder residuals: from 0.1 to 1 at the middle block | as `control` |

`prompt` and `control` follow sd-webui-controlnet (`hook.py`: soft injection, cfg injection), `guess` is the
guess mode of diffusers' `ControlNetModel`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mezzotint import Pass

Mode = Literal["balanced", "prompt", "control", "guess"]
AdapterMode = Literal["balanced", "prompt", "control"]

DECAY = 0.825
ADAPTER_SOFT = (0.25, 0.62, 0.825, 1.0)
"""The web UI's soft weights of a T2I-Adapter, one for each of its four features."""
_SD, _SDXL = 13, 10
"""Residuals with the middle block: twelve and one, nine and one."""


def soft_weights(count: int) -> tuple[float, ...]:
    """The web UI's soft injection for `count` residuals, the middle block's last.

    For the ten of SDXL the web UI takes the first ten of the thirteen of SD, so that its middle block gets
    0.825³; kept here, as people tune prompts on it. U-Nets of any other size end at 1.
    """
    last = _SD - 1 if count == _SDXL else count - 1
    return tuple(DECAY ** (last - i) for i in range(count))


def adapter_soft_weights(count: int) -> tuple[float, ...]:
    """The web UI's soft weights for the first `count` features of a T2I-Adapter."""
    return (*ADAPTER_SOFT, *(1.0,) * count)[:count]


def only_with_prompt(mode: Mode | AdapterMode, pools: bool = False) -> bool:
    """Whether the negative pass stays without control; always so for networks that pool over the image."""
    return pools or mode in ("control", "guess")


def controlled_passes(passes: Sequence[Pass], with_prompt_alone: bool) -> list[int]:
    """Positions of the passes that get control; all, where none has the prompt."""
    chosen = [i for i, pass_ in enumerate(passes) if pass_.conditioning != "negative"]
    return chosen if with_prompt_alone and chosen else list(range(len(passes)))
