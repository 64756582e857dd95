"""Layers of a live teacher that run in a step: all, or those up to the last tap if no request uses its image."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

import i2ikd
from i2ikd import Batch, Features, Knowledge
from i2ikd.engine.teacher_runner import TeacherRunner
from i2ikd.objective import TeacherRequest
from i2ikd.registry import default_registry

LAYERS = 4


def teacher() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(LAYERS)))


def batch(value: float) -> Batch:
    return Batch(torch.full((2, 1, 6, 5), value), torch.zeros(2, 1, 6, 5))


def taps_of(features: Features, batch: Batch) -> Knowledge:
    return {str(index): tap for index, tap in enumerate(features.taps)}


def image_of(features: Features, batch: Batch) -> Knowledge:
    return {"image": features.image()}


EARLY = TeacherRequest("early", taps_of, ("0",), uses_output=False)
LATER = TeacherRequest("later", taps_of, ("2", "1"), uses_output=False)
IMAGE = TeacherRequest("image", image_of)
UNSTATED = TeacherRequest("unstated", taps_of, ("0",))


@pytest.mark.parametrize(
    ("requests", "layers"),
    [
        ([EARLY], 1),
        ([EARLY, LATER], 3),
        ([EARLY, IMAGE], LAYERS),
        ([UNSTATED], LAYERS),
    ],
    ids=lambda value: "-".join(r.name for r in value) if isinstance(value, list) else str(value),
)
def test_a_step_runs_the_layers_that_the_requests_need(requests: Sequence[TeacherRequest], layers: int) -> None:
    network, ran = teacher(), list[int]()
    for index, layer in enumerate(network):
        layer.register_forward_hook(lambda *_, index=index: ran.append(index))
    runner = TeacherRunner({"teacher": network}, requests, {}, torch.device("cpu"), nullcontext)
    for number in range(3):
        ran.clear()
        given = batch(0.5 + number)
        runner.forward(given)
        assert ran == list(range(LAYERS if number == 0 else layers)), "the first call counts the features"
        found = runner.outputs(requests, given)
        expected: list[Tensor] = [given.input]
        with torch.no_grad():
            for layer in network:
                expected.append(layer(expected[-1]))
        for request in requests:
            wanted = [expected[int(path) + 1] for path in request.paths] or [expected[-1]]
            assert all(map(torch.equal, found[request.name].values(), wanted))
        runner.release()
    runner.close()


def test_bundled_distillers_on_taps_do_not_use_the_image_of_the_teacher() -> None:
    """All but ``contrastive``, whose taps serve its preparation alone."""
    made = [i2ikd.create("distiller", component.name) for component in default_registry().components("distiller")]
    assert [type(d).__name__ for d in made if d.uses_taps and d.uses_teacher and d.uses_output] == ["Contrastive"]
