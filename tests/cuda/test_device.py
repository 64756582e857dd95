"""Training on a GPU has the losses of a CPU and waits for nothing within an epoch.

``I2IKD_TEST_DEVICE=cpu`` runs the tests on a CPU, where they cover everything except the GPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from i2ikd.callback import NullCallback

DEVICE = os.environ.get("I2IKD_TEST_DEVICE") or ("cuda" if torch.cuda.is_available() else None)
pytestmark = pytest.mark.skipif(DEVICE is None, reason="no CUDA device")
ARMS = [
    {"name": "imitation", "recipe": "imitation"},
    {"name": "kd-mri", "recipe": "kd-mri", "distiller": "attention"},
    {"name": "recommended", "recipe": "recommended"},
]
SETTINGS = ("training.epochs=3", "training.batch=1", "training.select=last", "training.precision=fp32")


class NoWaiting(NullCallback):
    """Makes every synchronisation with the GPU an error, from the second step of an epoch to its end."""

    def __init__(self) -> None:
        self.steps = 0

    def on_step_end(self) -> None:
        self.steps += 1
        if torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode("error" if self.steps % 4 else "default")  # four steps an epoch


@pytest.fixture(autouse=True)
def waiting_again() -> Iterator[None]:
    yield
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("cache_mib", [0, 64])
@pytest.mark.parametrize("arm", [arm["name"] for arm in ARMS])
def test_no_step_waits_for_the_device(laboratory: Any, arm: str, cache_mib: int) -> None:
    cache = f"training.cache_mib={cache_mib}"
    graph = laboratory.graph(*SETTINGS, cache, f"training.device={DEVICE}", arms=ARMS)
    callback = NoWaiting()
    laboratory.train(graph, arm, callback=callback)
    assert callback.steps >= 2 * 3 * 4, "of the teacher and the student"


@pytest.mark.parametrize("arm", [arm["name"] for arm in ARMS])
def test_losses_are_those_of_a_cpu(laboratory: Any, arm: str) -> None:
    """Float32 on both, with other orders of summation; a GPU may use TF32, of 10 bits, in convolutions."""
    found = {}
    for device in ("cpu", DEVICE):
        graph = laboratory.graph(*SETTINGS, f"training.device={device}", arms=ARMS, out=str(device))
        history = laboratory.train(graph, arm).folder.history()
        found[device] = [row["losses"]["total"] for row in history]
    np.testing.assert_allclose(found[DEVICE], found["cpu"], rtol=2e-2)


def test_a_second_run_has_the_same_weights(laboratory: Any, identical: Any) -> None:
    weights = [
        laboratory.weights(
            laboratory.train(laboratory.graph(*SETTINGS, f"training.device={DEVICE}", out=out), "student")
        )
        for out in ("first", "second")
    ]
    assert identical(*weights)
