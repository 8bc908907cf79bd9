"""Every scheduler class of diffusers that a U-Net's sampling loop can drive, as `diffusers:ClassName`."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mezzotint.errors import RequestError
from mezzotint.scheduling import SchedulerFamily

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

logger = logging.getLogger("mezzotint")

LEFT_OUT = {
    "AmusedScheduler": "denoises tokens",
    "BlockRefinementScheduler": "denoises tokens",
    "DiscreteDDIMScheduler": "denoises tokens",
    "EntropyBoundScheduler": "denoises tokens",
    "VQDiffusionScheduler": "denoises tokens",
    "RFD4ProteinaScheduler": "denoises proteins",
    "ConsistencyDecoderScheduler": "belongs to one decoder",
    "CogVideoXDDIMScheduler": "belongs to a video pipeline",
    "CogVideoXDPMScheduler": "belongs to a video pipeline",
    "HeliosDMDScheduler": "belongs to a video pipeline",
    "HeliosScheduler": "belongs to a video pipeline",
    "LTXEulerAncestralRFScheduler": "belongs to a video pipeline",
    "MiniMaxH3Scheduler": "belongs to a video pipeline",
    "DDPMWuerstchenScheduler": "counts time in ratios, only Wuerstchen's pipeline drives it",
    "FlowMapEulerDiscreteScheduler": "steps between two times that the model must know",
    "KarrasVeScheduler": "takes a sample that its own pipeline perturbs before the model sees it",
    "PiflowScheduler": "takes a policy instead of a prediction",
    "RePaintScheduler": "takes the image and mask that it inpaints",
    "ScoreSdeVeScheduler": "takes predictor and corrector steps from its own pipeline",
}
"""Classes that the loop cannot drive, and why."""


def class_names() -> Sequence[str]:
    """Names of the classes, sorted; those whose optional dependency is missing are left out."""
    import diffusers
    from diffusers.utils import DummyObject

    names = []
    for name in dir(diffusers):
        if not name.endswith("Scheduler") or name in LEFT_OUT:
            continue
        found = getattr(diffusers, name)
        if isinstance(found, DummyObject) or not isinstance(found, type):
            continue
        if issubclass(found, diffusers.SchedulerMixin):
            names.append(name)
    return sorted(names)


def make(name: str, config: Mapping[str, Any]) -> SchedulerMixin:
    """The class of this name from a config, which may be that of another class.

    Warns if the class has a noise schedule of its own and so cannot follow the β of the config.

    Raises:
        RequestError: diffusers refuses the config, or a package that the class needs is missing.
    """
    import diffusers

    scheduler_class = getattr(diffusers, name)
    if (
        "beta_start" in config
        and "beta_schedule" not in inspect.signature(scheduler_class.__init__).parameters
    ):
        logger.warning(
            "diffusers:%s has a noise schedule of its own and ignores this model's; "
            "pictures are right only for a model that was trained on it",
            name,
        )
    try:
        scheduler: SchedulerMixin = scheduler_class.from_config(dict(config))
    except (ValueError, NotImplementedError, TypeError, ImportError) as error:
        raise RequestError(f"diffusers:{name} cannot be made from this config: {error}") from error
    return scheduler


DIFFUSERS = SchedulerFamily(
    "diffusers", class_names, make, "scheduler classes of the installed diffusers, by class name"
)
