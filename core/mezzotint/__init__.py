"""mezzotint: a plugin framework for latent diffusion.

    import mezzotint

    pipe = mezzotint.load("emoji")
    pipe("3d render of a ghost", seed=7).images[0].save("ghost.png")

Public names are imported when they are first used, so that `import mezzotint` takes no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "AttentionTokens": "attention",
    "Block": "blocks",
    "BlockOutput": "blocks",
    "CommandSpec": "specs",
    "Conditioning": "conditioning",
    "Extension": "extension",
    "Field": "extension",
    "Guidance": "guidance",
    "ClassifierFreeGuidance": "guidance",
    "MezzotintError": "errors",
    "ModelSpec": "specs",
    "Pass": "conditioning",
    "Pipeline": "pipeline",
    "Plan": "plan",
    "PreprocessorSpec": "specs",
    "Progress": "run",
    "Registry": "registry",
    "Residuals": "residuals",
    "Result": "result",
    "Run": "run",
    "RunCancelled": "run",
    "RunDefaults": "specs",
    "SchedulerFamily": "scheduling",
    "SchedulerSpec": "scheduling",
    "SolverSpec": "scheduling",
    "SpacingSpec": "scheduling",
    "Step": "scheduling",
    "hookimpl": "markers",
    "load": "loading",
    "replay": "replaying",
    "scheduler": "scheduler_by_name",
    "solver": "scheduling",
    "spacing": "scheduling",
}

__all__ = ["__version__", *sorted(_WHERE)]

if TYPE_CHECKING:
    from pydantic import Field as Field

    from .attention import AttentionTokens as AttentionTokens
    from .blocks import Block as Block
    from .blocks import BlockOutput as BlockOutput
    from .conditioning import Conditioning as Conditioning
    from .conditioning import Pass as Pass
    from .errors import MezzotintError as MezzotintError
    from .extension import Extension as Extension
    from .guidance import ClassifierFreeGuidance as ClassifierFreeGuidance
    from .guidance import Guidance as Guidance
    from .loading import load as load
    from .markers import hookimpl as hookimpl
    from .pipeline import Pipeline as Pipeline
    from .plan import Plan as Plan
    from .registry import Registry as Registry
    from .residuals import Residuals as Residuals
    from .result import Result as Result
    from .run import Progress as Progress
    from .run import Run as Run
    from .run import RunCancelled as RunCancelled
    from .scheduler_by_name import scheduler as scheduler
    from .scheduling import SchedulerFamily as SchedulerFamily
    from .scheduling import SchedulerSpec as SchedulerSpec
    from .scheduling import SolverSpec as SolverSpec
    from .scheduling import SpacingSpec as SpacingSpec
    from .scheduling import Step as Step
    from .scheduling import solver as solver
    from .scheduling import spacing as spacing
    from .specs import CommandSpec as CommandSpec
    from .specs import ModelSpec as ModelSpec
    from .specs import PreprocessorSpec as PreprocessorSpec
    from .specs import RunDefaults as RunDefaults


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
