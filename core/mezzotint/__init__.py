"""mezzotint: a plugin framework for latent diffusion.

    import mezzotint

    pipe = mezzotint.load("emoji")
    pipe("3d render of a ghost", seed=7).images[0].save("ghost.png")

Public names are imported when they are first used, so that `import mezzotint` takes no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy_names import lazy_names

__version__ = "0.1.0"

_WHERE = {
    "AttentionTokens": "unet.attention",
    "Block": "hooks.blocks",
    "BlockOutput": "hooks.blocks",
    "CommandSpec": "plugins.specs",
    "Conditioning": "hooks.conditioning",
    "Extension": "plugins.extension",
    "Field": "plugins.extension",
    "Guidance": "hooks.guidance",
    "HookCall": "hooks.hook_call",
    "ClassifierFreeGuidance": "hooks.guidance",
    "MezzotintError": "errors",
    "ModelSpec": "plugins.specs",
    "Pass": "hooks.conditioning",
    "Pipeline": "pipeline.pipeline",
    "Plan": "planning.plan",
    "PreprocessorSpec": "plugins.specs",
    "Progress": "pipeline.run",
    "PromptMark": "hooks.prompt_marks",
    "Registry": "plugins.registry",
    "Request": "pipeline.request",
    "Residuals": "hooks.residuals",
    "Result": "pipeline.result",
    "Run": "pipeline.run",
    "RunCancelled": "pipeline.run",
    "RunDefaults": "plugins.specs",
    "SchedulerFamily": "scheduling",
    "SchedulerSpec": "scheduling",
    "SolverSpec": "scheduling",
    "SpacingSpec": "scheduling",
    "Step": "scheduling",
    "TextFile": "hooks.text_file",
    "hookimpl": "hooks.markers",
    "load": "models.loading",
    "replay": "recipes.replaying",
    "scheduler": "scheduler_by_name",
    "shadowed": "unet.attach",
    "solver": "scheduling",
    "spacing": "scheduling",
    "Weights": "unet.weight_state",
    "weight_sample": "unet.weight_state",
    "weight_state": "unet.weight_state",
}

__all__ = ["__version__", *sorted(_WHERE)]

if TYPE_CHECKING:
    from pydantic import Field as Field

    from .errors import MezzotintError as MezzotintError
    from .hooks.blocks import Block as Block
    from .hooks.blocks import BlockOutput as BlockOutput
    from .hooks.conditioning import Conditioning as Conditioning
    from .hooks.conditioning import Pass as Pass
    from .hooks.guidance import ClassifierFreeGuidance as ClassifierFreeGuidance
    from .hooks.guidance import Guidance as Guidance
    from .hooks.hook_call import HookCall as HookCall
    from .hooks.markers import hookimpl as hookimpl
    from .hooks.prompt_marks import PromptMark as PromptMark
    from .hooks.residuals import Residuals as Residuals
    from .hooks.text_file import TextFile as TextFile
    from .models.loading import load as load
    from .pipeline.pipeline import Pipeline as Pipeline
    from .pipeline.request import Request as Request
    from .pipeline.result import Result as Result
    from .pipeline.run import Progress as Progress
    from .pipeline.run import Run as Run
    from .pipeline.run import RunCancelled as RunCancelled
    from .planning.plan import Plan as Plan
    from .plugins.extension import Extension as Extension
    from .plugins.registry import Registry as Registry
    from .plugins.specs import CommandSpec as CommandSpec
    from .plugins.specs import ModelSpec as ModelSpec
    from .plugins.specs import PreprocessorSpec as PreprocessorSpec
    from .plugins.specs import RunDefaults as RunDefaults
    from .scheduler_by_name import scheduler as scheduler
    from .scheduling import SchedulerFamily as SchedulerFamily
    from .scheduling import SchedulerSpec as SchedulerSpec
    from .scheduling import SolverSpec as SolverSpec
    from .scheduling import SpacingSpec as SpacingSpec
    from .scheduling import Step as Step
    from .scheduling import solver as solver
    from .scheduling import spacing as spacing
    from .unet.attach import shadowed as shadowed
    from .unet.attention import AttentionTokens as AttentionTokens
    from .unet.weight_state import Weights as Weights
    from .unet.weight_state import weight_sample as weight_sample
    from .unet.weight_state import weight_state as weight_state


__getattr__ = lazy_names(__name__, _WHERE)


def __dir__() -> list[str]:
    return __all__
