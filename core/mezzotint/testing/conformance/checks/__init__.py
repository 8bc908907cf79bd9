"""Every check, in the order in which it is run and reported: one file an idea."""

from ..finding import Check
from .dtype import dtype_contract
from .eta import eta_zero, no_eta
from .evaluations import evaluations
from .last_jump import last_jump
from .levels import image_to_image, levels
from .noise import batch_invariance, seeded_noise
from .order import not_of_the_ode, order_alternating, order_declared, order_exponential
from .point_mass import point_mass
from .prediction_types import prediction_types
from .purity import config_frozen, inputs_untouched, interleaved_runs, used_again
from .resume import resume
from .shift import shift
from .spacing import spacing_is_pure, strictly_decreasing
from .stability import for_distilled_models, stability
from .timesteps import timesteps
from .weak_order import not_of_an_sde, weak_order_alternating, weak_order_exponential

CHECKS = (
    Check("point-mass", point_mass, ("solver",)),
    Check("shift", shift, ("solver",)),
    Check("order-exponential", order_exponential, ("solver", "scheduler"), not_of_the_ode),
    Check("order-alternating", order_alternating, ("solver", "scheduler"), not_of_the_ode),
    Check("order-declared", order_declared, ("solver",), not_of_the_ode),
    Check("weak-order-exponential", weak_order_exponential, ("solver", "scheduler"), not_of_an_sde),
    Check("weak-order-alternating", weak_order_alternating, ("solver", "scheduler"), not_of_an_sde),
    Check("eta-zero", eta_zero, ("solver",), no_eta),
    Check("last-jump", last_jump, ("solver",)),
    Check("stability", stability, ("solver",), for_distilled_models),
    Check("evaluations", evaluations, ("solver", "scheduler")),
    Check("timesteps", timesteps, ("scheduler",)),
    Check("levels", levels, ("solver", "scheduler")),
    Check("image-to-image", image_to_image, ("solver", "scheduler")),
    Check("prediction-types", prediction_types, ("solver", "scheduler")),
    Check("interleaved-runs", interleaved_runs, ("solver", "scheduler")),
    Check("used-again", used_again, ("solver", "scheduler")),
    Check("inputs-untouched", inputs_untouched, ("solver", "scheduler")),
    Check("config-frozen", config_frozen, ("solver", "scheduler")),
    Check("seeded-noise", seeded_noise, ("solver", "scheduler")),
    Check("batch-invariance", batch_invariance, ("solver", "scheduler")),
    Check("dtype", dtype_contract, ("solver", "scheduler")),
    Check("resume", resume, ("solver", "scheduler")),
    Check("strictly-decreasing", strictly_decreasing, ("spacing",)),
    Check("spacing-pure", spacing_is_pure, ("spacing",)),
)
