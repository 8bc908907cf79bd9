"""What a solver's scheduler takes over from the model's own scheduler."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from ..errors import RequestError

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

DEFAULTS: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
    "steps_offset": 0,
    "set_alpha_to_one": True,
    "final_sigmas_type": "zero",
    "clip_sample": False,
    "clip_sample_range": 1.0,
    "sigma_min": None,
    "sigma_max": None,
    "use_flow_sigmas": False,
    "flow_shift": 1.0,
}
"""The model's settings that matter to a solver, named as in diffusers; values are Stable Diffusion's."""

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample", "flow_prediction")

FINAL_SIGMAS_TYPES = ("zero", "sigma_min")

DPM_DIALECT = (
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
    "SASolverScheduler",
)
"""Classes whose `linspace` and `leading` leave out the last of n + 1 timesteps."""
EULER_DIALECT = (
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "DPMSolverSDEScheduler",
)
"""Classes whose `linspace` asks at fractional timesteps."""


def full_config(like: SchedulerMixin | Mapping[str, Any] | None) -> dict[str, Any]:
    """A scheduler's config as plain data, with the defaults of the class that wrote it filled in."""
    if like is None:
        return {}
    # A live scheduler's config names its class only if it came from a file.
    config = (
        dict(like)
        if isinstance(like, Mapping)
        else {**cast("Any", like).config, "_class_name": type(like).__name__}
    )
    written_by = _diffusers_class(config.get("_class_name"))
    if written_by is not None:
        config = {**_constructor_defaults(written_by), **config}
    return config


def model_config(like: SchedulerMixin | Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings of `DEFAULTS` read from the model's own scheduler or its config; nothing is written.

    Raises:
        RequestError: solvers cannot follow that scheduler's noise schedule or parametrisation.
    """
    config = full_config(like)
    name = str(config.get("_class_name", "the model's scheduler"))
    _refuse_what_is_not_followed(name, config)
    settings = {key: config.get(key, default) for key, default in DEFAULTS.items()}
    if settings["trained_betas"] is not None:
        settings["trained_betas"] = [float(beta) for beta in settings["trained_betas"]]
        settings["num_train_timesteps"] = len(settings["trained_betas"])
    if name.startswith("FlowMatch"):
        settings |= {
            "use_flow_sigmas": True,
            "prediction_type": "flow_prediction",
            "flow_shift": config.get("shift", 1.0),
        }
    check_settings(settings)
    return settings


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise a `RequestError` for a setting of the model that means nothing."""
    for setting, known in (("prediction_type", PREDICTION_TYPES), ("final_sigmas_type", FINAL_SIGMAS_TYPES)):
        if settings[setting] not in known:
            raise RequestError(f"{setting} {settings[setting]!r} is not known; there are {', '.join(known)}")
    for setting in ("num_train_timesteps", "flow_shift", "sigma_min", "sigma_max"):
        if settings[setting] is not None and not settings[setting] > 0:
            raise RequestError(f"{setting} is {settings[setting]!r}; it must be above 0")


def noise_defaults() -> dict[str, Any]:
    """Stable Diffusion's noise schedule, for scheduler classes that are made without a model."""
    return {key: DEFAULTS[key] for key in ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")}


def own_spacing(like: SchedulerMixin | Mapping[str, Any] | None) -> str:
    """The spacing that the model's own scheduler uses; `trailing` where it has none (Lin et al. 2023)."""
    config = full_config(like)
    if config.get("spacing"):
        return str(config["spacing"])
    for flag, name in (
        ("use_karras_sigmas", "karras"),
        ("use_exponential_sigmas", "exponential"),
        ("use_lu_lambdas", "exponential"),
        ("use_beta_sigmas", "beta"),
    ):
        if config.get(flag):
            return name
    if str(config.get("_class_name")).startswith("FlowMatch"):
        return "linspace@euler"
    name = str(config.get("timestep_spacing", "trailing"))
    if config.get("_class_name") in DPM_DIALECT and name in ("leading", "linspace"):
        return f"{name}@dpm"
    if config.get("_class_name") in EULER_DIALECT and name == "linspace":
        return "linspace@euler"
    return name


def _refuse_what_is_not_followed(name: str, config: Mapping[str, Any]) -> None:
    reason = ""
    written_by = _diffusers_class(config.get("_class_name"))
    known = name.startswith("FlowMatch") or "beta_schedule" in config or "trained_betas" in config
    if written_by is not None and not known:
        reason = "has no β schedule"
    elif config.get("timestep_type") == "continuous":
        reason = "has continuous timesteps (timestep_type)"
    elif config.get("thresholding"):
        reason = "thresholds the denoised sample (thresholding)"
    elif config.get("variance_type") in ("learned", "learned_range"):
        reason = "has a learned variance (variance_type)"
    elif config.get("use_dynamic_shifting"):
        reason = "shifts its noise levels by image size (use_dynamic_shifting)"
    if reason:
        raise RequestError(f"{name} {reason}, which solvers do not follow; use scheduler 'diffusers:{name}'")


def _diffusers_class(name: object) -> type | None:
    import diffusers

    found = getattr(diffusers, name, None) if isinstance(name, str) else None
    return found if isinstance(found, type) and issubclass(found, diffusers.SchedulerMixin) else None


def _constructor_defaults(scheduler_class: type) -> dict[str, Any]:
    parameters = inspect.signature(scheduler_class.__init__).parameters.values()  # type: ignore[misc]
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
