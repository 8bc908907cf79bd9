"""A scheduler's config on disk is enough to make it again, by name, from the installed plugins."""

import json

import diffusers
import pytest
import torch
from mezzotint.errors import UnknownNameError
from mezzotint.scheduling.replay import ReplayScheduler


@pytest.fixture
def saved(make, tmp_path):
    scheduler = make("dpmpp-2m-sde", "karras", eta=0.5, rho=5.0, steps_offset=1)
    scheduler.save_pretrained(tmp_path)
    return scheduler, tmp_path


def test_it_is_made_again_by_name(saved, run):
    scheduler, folder = saved
    again = ReplayScheduler.from_pretrained(folder)
    assert {key: again.config[key] for key in scheduler.config if not key.startswith("_")} == {
        key: value for key, value in scheduler.config.items() if not key.startswith("_")
    }
    generator = torch.Generator().manual_seed(1)
    assert torch.equal(run(again, generator=generator), run(scheduler, generator=generator))


def test_a_solver_that_is_not_installed_is_named(saved):
    _, folder = saved
    file = folder / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "solver": "dpmpp-9m"}))
    with pytest.raises(UnknownNameError, match="no scheduler named 'dpmpp-9m'; did you mean"):
        ReplayScheduler.from_pretrained(folder)


def test_a_pipeline_of_diffusers_saves_and_loads_it(make, tmp_path):
    unet = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(8,),
        norm_num_groups=4,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
    )
    scheduler = make("dpmpp-2m", "exponential")
    diffusers.DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(tmp_path)
    again = diffusers.DDPMPipeline.from_pretrained(tmp_path)
    assert again.scheduler.solver is scheduler.solver
    assert again.scheduler.spacing is scheduler.spacing
