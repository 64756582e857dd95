"""Rivals train on the losses of the plain loop, and their rows are ratios of the measured times."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import groups_rivals, paper_grid
from benchmarks.drift import SMALL
from benchmarks.measure import Plan
from benchmarks.plain_loop import PlainStage
from benchmarks.rivals.network import cascades
from benchmarks.rivals.run import RIVALS, training
from benchmarks.setting import Setting
from benchmarks.worker import VARIANTS, Reply

STEPS = 8


class Enough(Exception):
    """Raised after the last step."""


def losses(name: str, setting: Setting) -> list[float]:
    """Return the first losses of a rival."""
    found: list[float] = []

    def on_step(loss: torch.Tensor) -> None:
        found.append(float(loss))
        if len(found) == STEPS:
            raise Enough

    with pytest.raises(Enough):
        training(name)(setting, on_step)
    return found


@pytest.mark.parametrize("stage", ["output", "features"])
@pytest.mark.parametrize("name", RIVALS)
@pytest.mark.filterwarnings("ignore")
def test_a_rival_has_the_losses_of_the_plain_loop(name: str, stage: Any) -> None:
    """Networks are float32 in both; the data consistency of the plain loop is float64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(RIVALS[name][1], exc_type=ImportError)
    setting = replace(SMALL, stage=stage)
    plain = list(itertools.islice(PlainStage(setting).losses(), STEPS))
    np.testing.assert_allclose(losses(name, setting), plain, rtol=1e-5)


def test_an_expert_trains_in_bfloat16_where_that_is_set() -> None:
    setting = replace(SMALL, precision="bf16")
    rounded, exact = losses("expert", setting), losses("expert", SMALL)
    assert rounded != exact
    np.testing.assert_allclose(rounded, exact, rtol=0.05)


def test_data_consistency_keeps_measured_samples_in_float32() -> None:
    network = cascades(SMALL, "student")
    random = torch.Generator().manual_seed(0)
    image = torch.rand(2, 1, 24, 24, generator=random)
    mask = (torch.rand(2, 1, 24, 1, generator=random) < 0.4).float()
    kspace = torch.fft.fft2(torch.rand(2, 1, 24, 24, generator=random), norm="ortho") * mask
    kspace = (kspace + kspace.flip(-1, -2).roll((1, 1), (-1, -2)).conj()) / 2  # of a real image, with the mask's lines
    with torch.autocast("cpu", torch.bfloat16):
        output = network(image, kspace, torch.ones_like(mask))
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, torch.fft.ifft2(kspace, norm="ortho").real, rtol=0, atol=1e-6)


def test_the_hours_of_a_cell_are_the_steps_of_all_arms_and_seeds() -> None:
    cells = paper_grid.hours({"deep": 0.2, "plain": 0.1, "features": 0.16, "output": 0.12}, batch=4)
    steps = {"brain": 120 * 32, "cardiac": 120 * 38, "knee": 1200 * 3}
    an_arm = 0.2 + 2 * 0.1 + 0.16 / 2 + 0.12 / 2 + 0.12
    assert cells == pytest.approx({name: 3 * count * an_arm / 3600 for name, count in steps.items()})


class Clocked:
    """Worker whose steps take a time that depends on the variant."""

    SECONDS = {"engine": 0.5, "expert": 1.5, "lightning": 2.0}  # noqa: RUF012 (constant)

    def __init__(self, name: str, setting: Setting) -> None:
        self.name, self.setting = name, setting

    def run_units(self, units: int = 1) -> Reply:
        took = self.SECONDS[self.name] * self.setting.batch
        peak = 300.0 if self.name == "engine" else 400.0
        return Reply(took, took, 0.0, 0.0, peak, 100.0)

    def close(self) -> None:
        pass


class TestRows:
    @pytest.fixture
    def plan(self, monkeypatch: pytest.MonkeyPatch) -> Plan:
        monkeypatch.setattr(groups_rivals, "installed", lambda: ["expert", "lightning"])
        return Plan(replace(SMALL, batch=2), rounds=2, units=1, bf16=True, quick=False, start=Clocked)

    def test_are_ratios_to_the_engine_with_the_targets_of_each_stage(self, plan: Plan) -> None:
        rows = {row.name: row for row in groups_rivals.rivals(plan)}
        row = rows["output stage, cached, fp32, against expert"]
        assert (row.value.median, row.reach, row.met) == (3.0, 2.0, True)
        assert row.detail == "1000 ms a step instead of 3000 ms"
        assert rows["attention stage, live teacher, bf16, against expert"].reach == 1.5
        assert rows["attention stage, live teacher, bf16, against lightning"].reach == 1.0
        memory = rows["output stage, cached, bf16, peak memory of the expert's process"]
        assert (memory.value.median, memory.met) == (0.75, True)

    def test_of_the_grid_name_the_fastest_rival_of_every_size_and_batch(self, plan: Plan) -> None:
        rows = groups_rivals.grid(plan)
        of_a_size = 2 * len(groups_rivals.BATCHES) - 1  # no attention stage at batch 1
        assert len(rows) == len(groups_rivals.SIZES) * of_a_size
        assert {row.value.median for row in rows} == {3.0} and all(row.detail.startswith("expert; ") for row in rows)
        assert rows[0].name == "output stage, cached, bf16, 64 pixels, batch 1, against the fastest rival"


def test_every_rival_is_a_variant_of_the_worker() -> None:
    assert set(RIVALS) <= set(VARIANTS)
