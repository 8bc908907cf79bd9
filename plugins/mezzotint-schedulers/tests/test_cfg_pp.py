"""CFG++: a solver that sees the unconditional prediction beside the guided one."""

import diffusers
import mezzotint_schedulers
import pytest
import torch
from mezzotint import Extension, hookimpl
from mezzotint import scheduler as mezzotint_scheduler
from mezzotint.errors import RequestError
from mezzotint.testing import save_tiny_model, tiny_pipeline

LAMBDA = 0.6


def conditional(x, t):
    return torch.tanh(0.7 * x + float(t) / 2000)


def unconditional(x, t):
    return torch.sin(0.5 * x - float(t) / 3000)


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    folder = save_tiny_model(tmp_path_factory.mktemp("model"))
    return tiny_pipeline(folder, plugins=[mezzotint_schedulers])


@pytest.mark.parametrize("scale", [0.0, LAMBDA, 1.0, 7.5])
def test_it_is_the_papers_algorithm_in_the_papers_notation(make, scale):
    """z' = sqrt(ᾱ') ẑ_λ + sqrt(1 - ᾱ') ε_∅, with ẑ_λ from the noise ε_∅ + λ (ε_c - ε_∅)."""
    like = diffusers.DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    scheduler = make("euler-cfg-pp", "trailing", like=like, clip_sample=False)
    scheduler.set_timesteps(10)
    noise = torch.randn(1, 4, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours = noise * scheduler.init_noise_sigma
    theirs = ours.clone()
    # diffusers has them in float32, and guidance makes much of the difference.
    alphas = (1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2).cumprod(0)
    times = scheduler.timesteps.tolist()
    for t, t_next in zip(times, [*times[1:], None], strict=True):
        guided = unconditional(ours, t) + scale * (conditional(ours, t) - unconditional(ours, t))
        ours = scheduler.step(guided, t, ours, uncond_output=unconditional(ours, t), return_dict=False)[0]

        alpha, alpha_next = alphas[t], alphas[t_next] if t_next is not None else torch.tensor(1.0)
        empty = unconditional(theirs, t)
        mixed = empty + scale * (conditional(theirs, t) - empty)
        clean = (theirs - (1 - alpha).sqrt() * mixed) / alpha.sqrt()
        theirs = alpha_next.sqrt() * clean + (1 - alpha_next).sqrt() * empty
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


class Rows(Extension, name="rows"):
    """Publish how many rows the U-Net had."""

    @hookimpl
    def unet_output(self, prediction, run):
        run.publish(self, rows=len(prediction))


def test_a_scale_below_one_runs_both_passes_for_it_alone(pipe):
    def rows(scheduler):
        result = pipe("a cat", steps=2, seed=1, guidance=LAMBDA, scheduler=scheduler, use=[Rows()])
        return result.outputs["rows"]["rows"]

    assert (rows("euler-cfg-pp"), rows("euler")) == (2, 1)


def test_a_run_is_that_of_the_formula(pipe):
    """With scale 0 only the unconditional prediction is left, and it is Euler's method on the negative prompt."""
    plain = pipe("b dog", steps=4, seed=1, guidance=1.0, scheduler="euler").latents
    renoised = pipe(
        "a cat", negative="b dog", steps=4, seed=1, guidance=0.0, scheduler="euler-cfg-pp"
    ).latents
    torch.testing.assert_close(renoised, plain, rtol=1e-4, atol=1e-4)
    guided = pipe("a cat", negative="b dog", steps=4, seed=1, guidance=1.0, scheduler="euler-cfg-pp").latents
    assert not torch.allclose(guided, plain, atol=1e-3)


@pytest.mark.parametrize("guidance", [0.0, 1.0, 7.5])
def test_a_run_of_any_guidance_is_the_papers_algorithm_with_that_scale(pipe, guidance):
    """z' = sqrt(ᾱ') ẑ_λ + sqrt(1 - ᾱ') ε_∅ with the U-Net's own predictions, written out here."""
    run = {"steps": 4, "seed": 1, "guidance": guidance, "scheduler": "euler-cfg-pp", "spacing": "trailing"}
    made = pipe("a cat", negative="b dog", **run)

    class Texts(Extension, name="texts"):
        @hookimpl
        def step_begin(self, run):
            embeddings.update(text=run.encode(["a cat"]).embeddings, empty=run.encode(["b dog"]).embeddings)

    embeddings = {}
    pipe("a cat", use=[Texts()], **{**run, "steps": 1})
    scheduler = mezzotint_scheduler("euler-cfg-pp", "trailing", like=pipe.scheduler)
    scheduler.set_timesteps(4)
    z = torch.randn(made.latents.shape, generator=torch.Generator().manual_seed(1))
    z = z * scheduler.init_noise_sigma
    times = scheduler.timesteps.tolist()
    alphas = pipe.scheduler.alphas_cumprod
    for t, t_next in zip(times, [*times[1:], None], strict=True):
        with torch.no_grad():
            text, empty = (pipe.unet(z, t, embeddings[name]).sample for name in ("text", "empty"))
        alpha, alpha_next = alphas[t], alphas[t_next] if t_next is not None else torch.tensor(1.0)
        clean = (z - (1 - alpha).sqrt() * (empty + guidance * (text - empty))) / alpha.sqrt()
        z = alpha_next.sqrt() * clean + (1 - alpha_next).sqrt() * empty
    torch.testing.assert_close(made.latents, z, rtol=1e-3, atol=1e-3)


def test_it_says_where_it_cannot_run(make):
    scheduler = make("euler-cfg-pp", "trailing")
    scheduler.set_timesteps(3)
    x = torch.ones(1, 1, 2, 2)
    with pytest.raises(
        RequestError, match="needs the unconditional prediction beside the guided one and got none: "
    ):
        scheduler.step(x, scheduler.timesteps[0], x)


class OnlyPositive(Extension, name="only-positive"):
    """Guidance that runs no negative pass."""

    @hookimpl
    def guidance(self, run):
        from mezzotint import Pass

        class Alone:
            def passes(self, run):
                return (Pass("positive"),)

            def combine(self, predictions, run):
                return predictions["positive"]

        return Alone()


def test_guidance_of_an_extension_without_a_negative_pass_is_refused(pipe):
    with pytest.raises(RequestError, match="in mezzotint the pass 'negative' must run at every step"):
        pipe("a cat", steps=2, scheduler="euler-cfg-pp", use=[OnlyPositive()])
