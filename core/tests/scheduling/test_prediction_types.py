"""A model may predict noise, velocity, sample or flow: the run is the same."""

import pytest
import torch
from mezzotint.errors import RequestError
from mezzotint.scheduling import make_scheduler


def exact_model(prediction_type, schedule):
    """Of data at ±1: the denoised sample is tanh; told to the scheduler in the form that it expects."""

    def model(x, t):
        sigma_over_alpha = schedule.sigma_of_timestep(float(t))
        alpha = schedule.alpha(sigma_over_alpha)
        sigma = alpha * sigma_over_alpha
        clean = torch.tanh(x * alpha / sigma**2)
        noise = (x - alpha * clean) / sigma
        return {
            "sample": clean,
            "epsilon": noise,
            "v_prediction": alpha * noise - sigma * clean,
            "flow_prediction": noise - clean,
        }[prediction_type]

    return model


@pytest.mark.parametrize("flow", [False, True], ids=["variance-preserving", "flow"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "flow_prediction"])
def test_all_prediction_types_give_the_same_run(make, run, spacings, prediction_type, flow):
    def end(kind):
        # Whole timesteps, as fractional ones are told to the model in float32.
        scheduler = make(spacing=spacings["every-tenth"], prediction_type=kind, use_flow_sigmas=flow)
        return run(scheduler, n=90, dtype=torch.float64, model=exact_model(kind, scheduler.noise_schedule))

    torch.testing.assert_close(end(prediction_type), end("sample"), rtol=1e-10, atol=1e-10)


def test_an_unknown_prediction_type_is_refused(solvers, spacings):
    with pytest.raises(RequestError, match=r"'score' is not known; there are epsilon, v_prediction, sample"):
        make_scheduler(
            "euler-like",
            spacing="geometric",
            like={"prediction_type": "score"},
            schedulers=solvers,
            families={},
            spacings=spacings,
        )
