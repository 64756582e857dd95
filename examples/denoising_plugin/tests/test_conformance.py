"""All components of the package pass the conformance checks of i2ikd."""

from __future__ import annotations

import pytest
from i2ikd_denoising import plugin
from i2ikd_denoising.edges import EdgeMaps
from i2ikd_denoising.metric import GradientPsnr
from i2ikd_denoising.network import DenoisingCNN
from i2ikd_denoising.task import Denoising

from i2ikd import Batch
from i2ikd.testing import check_distiller, check_metric, check_model, check_plugin, check_task

SMALL = {"name": "photographs", "crop": 16, "crops": 3, "photographs": 2}


def test_the_plugin_registers_existing_targets() -> None:
    check_plugin(plugin)


def test_the_task() -> None:
    check_task(Denoising(dataset=SMALL, noise=0.2))


def test_the_network_on_the_task_s_samples() -> None:
    samples = Denoising(dataset=SMALL).dataset("train")
    check_model(lambda: DenoisingCNN(depth=4, channels=5), Batch.collate([samples[0], samples[4]]))


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_distiller(norm: str) -> None:
    # Tiled features have edges where the tiles meet: the tolerance allows for them, but not for a sum over pixels.
    check_distiller(lambda: EdgeMaps(norm), enlarge_tolerance=0.3)  # type: ignore[arg-type]


def test_the_metric() -> None:
    check_metric(GradientPsnr())
