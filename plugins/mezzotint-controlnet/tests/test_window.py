"""Which steps a window has, in both conventions, at its edges."""

import logging

import pytest
from mezzotint_controlnet import ControlNet
from mezzotint_controlnet.window import active_steps

TABLE = [
    # N, start, end, diffusers, webui
    (1, 0.0, 1.0, [0], [0]),
    (1, 0.0, 0.5, [], [0]),
    (1, 0.0, 0.0, [], [0]),
    (1, 0.5, 1.0, [], []),
    (4, 0.0, 1.0, [0, 1, 2, 3], [0, 1, 2, 3]),
    (4, 0.0, 0.5, [0, 1], [0, 1, 2]),
    (4, 0.4, 0.5, [], [2]),
    (4, 0.5, 0.5, [], [2]),
    (4, 0.26, 0.49, [], []),
    (4, 0.75, 1.0, [3], [3]),
    (4, 0.76, 1.0, [], []),
    (10, 0.0, 0.1, [0], [0, 1]),
    (10, 0.2, 0.8, [2, 3, 4, 5, 6, 7], [2, 3, 4, 5, 6, 7, 8]),
    (10, 0.25, 0.75, [3, 4, 5, 6], [3, 4, 5, 6, 7]),
    (10, 0.9, 1.0, [9], [9]),
    (10, 1.0, 1.0, [], []),
    (20, 0.0, 0.04, [], [0]),
    (20, 0.0, 0.05, [0], [0, 1]),
    (20, 0.5, 0.6, [10, 11], [10, 11, 12]),
    (20, 0.95, 1.0, [19], [19]),
]


@pytest.mark.parametrize(("count", "start", "end", "diffusers", "webui"), TABLE)
def test_a_window_has_the_steps_that_each_convention_gives_it(count, start, end, diffusers, webui):
    assert active_steps(count, start, end, "diffusers") == diffusers
    assert active_steps(count, start, end, "webui") == webui


@pytest.mark.parametrize("count", [1, 4, 10, 20])
def test_the_formulas_of_both_programs_agree_with_it_everywhere(count):
    for start in (k / 20 for k in range(21)):
        for end in (k / 20 for k in range(21)):
            keep = [
                1.0 - float(i / count < start or (i + 1) / count > end) for i in range(count)
            ]  # diffusers, pipeline_controlnet.py, 7.2
            assert active_steps(count, start, end, "diffusers") == [i for i in range(count) if keep[i]]
            stopped = [i / count < start or i / count > end for i in range(count)]  # webui, hook.py
            assert active_steps(count, start, end, "webui") == [i for i in range(count) if not stopped[i]]


@pytest.mark.parametrize(("window", "steps"), [("diffusers", [0, 1]), ("webui", [0, 1, 2])])
def test_the_network_is_called_at_the_steps_of_its_window_alone(
    window, steps, pipe, edges, picture, latents, monkeypatch
):
    from diffusers import ControlNetModel

    seen = []
    forward = ControlNetModel.forward
    monkeypatch.setattr(
        ControlNetModel, "forward", lambda *args, **kwargs: seen.append(1) or forward(*args, **kwargs)
    )
    called = []
    pipe(
        "a cat",
        steps=4,
        seed=3,
        use=[ControlNet(edges, picture, end=0.5, window=window)],
        on_step=lambda progress: called.append((progress.index, len(seen))) or seen.clear(),
    )
    assert [index for index, calls in called if calls] == steps


@pytest.mark.parametrize("options", [{"scale": 0}, {"start": 0.4, "end": 0.5}])
def test_a_network_without_strength_or_steps_is_never_called(options, edges, picture, latents, monkeypatch):
    from diffusers import ControlNetModel
    from torch import equal

    def refuse(*args, **kwargs):
        raise AssertionError("called")

    plain = latents(steps=4)
    monkeypatch.setattr(ControlNetModel, "forward", refuse)
    assert equal(latents(ControlNet(edges, picture, **options), steps=4), plain)


def test_a_window_without_steps_is_a_warning(edges, picture, latents, caplog):
    with caplog.at_level(logging.WARNING, "mezzotint"):
        latents(ControlNet(edges, picture, start=0.4, end=0.5), steps=4)
    assert "controlnet selects none of 4 steps: start=0.4, end=0.5 in the diffusers convention" in caplog.text
    caplog.clear()
    latents(ControlNet(edges, picture, start=0.4, end=0.5, window="webui"), steps=4)
    assert "selects none" not in caplog.text
