"""A batch divided among processes, seen from inside one of them: errors and messages."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from i2ikd import UserError
from i2ikd.engine.batches import SampleBatches
from i2ikd.engine.device import resolve_device
from i2ikd.engine.loader import LoaderBatches
from i2ikd.engine.processes import ProcessGroup
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.ddp_checks import ddp_checks
from i2ikd.experiment.graph import RunGraph
from i2ikd.registry import default_registry


class Pair(ProcessGroup):
    """One of two processes, seen from inside."""

    def __init__(self, rank: int = 0, size: int = 2) -> None:
        self.rank, self.size, self.local_rank = rank, size, rank


def context_of(laboratory: Any, *overrides: str, size: int = 2) -> ExperimentContext:
    """8 training slices, in batches of 4."""
    experiment = laboratory.experiment("task.dataset.train=4", "training.batch=4", *overrides)
    return ExperimentContext(experiment, default_registry(), laboratory.folder / "out", Pair(size=size))


class TestShares:
    def lines(self, laboratory: Any, *overrides: str, size: int = 2, arm: str | None = None) -> list[str]:
        graph = RunGraph(context_of(laboratory, *overrides, size=size))
        return ddp_checks(graph, [graph.context.experiment.arm(arm)] if arm else [])

    def test_a_batch_is_divided_evenly_or_not_at_all(self, laboratory: Any) -> None:
        assert self.lines(laboratory, arm="kd-mri") == ["2 processes: each trains on 2 samples of a batch of 4"]
        assert self.lines(laboratory, size=1) == []
        with pytest.raises(UserError, match=r"training\.batch = 4 cannot be divided among 3 processes.*multiple of 3"):
            self.lines(laboratory, size=3)
        with pytest.raises(UserError, match=r"8 slices, fewer than training\.batch = 9.*set training\.batch = 6"):
            self.lines(laboratory, "training.batch=9", size=3)

    def test_what_relates_samples_is_named(self, laboratory: Any) -> None:
        distiller = 'arms.kd-mri.distiller={ name = "attention", mode = "code" }'
        (line,) = self.lines(laboratory, distiller, arm="kd-mri")
        assert "; these relate the samples of one process only, " in line
        assert line.endswith("so numbers differ from one process: attention (students/kd-mri/seed0)")
        with pytest.raises(
            UserError, match=r"'features': attention relates samples and needs at least 2 .* 4 processes has 1"
        ):
            self.lines(laboratory, distiller, size=4, arm="kd-mri")

    def test_batch_normalisation_is_named(self, laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        (laboratory.folder / "normalising_networks.py").write_text(
            "from torch import nn\n"
            "def make():\n"
            "    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1))\n"
        )
        monkeypatch.chdir(laboratory.folder)
        monkeypatch.syspath_prepend(str(laboratory.folder))
        (line,) = self.lines(laboratory, 'teacher={ model = "import:normalising_networks:make" }')
        assert line.endswith("so numbers differ from one process: batch normalisation (teacher/seed0)")

    def test_together_the_parts_are_the_batches_of_one_process(self, laboratory: Any) -> None:
        context = context_of(laboratory, 'training.augmentations=["flip"]', "task.mask.fixed=false")
        dataset = context.dataset("train")
        whole, *parts = (list(SampleBatches(dataset, 4, seed=3).epoch(1, 1, part)) for part in ((0, 1), (0, 2), (1, 2)))
        assert len(whole) == 1
        for batch, left, right in zip(whole, *parts, strict=True):
            assert torch.equal(batch.input, torch.cat([left.input, right.input])), "seen in the same way"
            assert batch.keys == left.keys + right.keys and len(left) == len(right) == 2


def test_a_loader_is_refused_in_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"a loader that you pass \(i2ikd\.distill\) works in one process"):
        LoaderBatches([(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))], 0)


def test_each_process_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    assert resolve_device("auto", Pair(rank=1)) == torch.device("cuda", 1)
    assert chosen == [1]
    assert resolve_device("cpu", Pair(rank=1)) == torch.device("cpu")
    with pytest.raises(UserError, match=r"torch finds 2 CUDA devices, too few .* --nproc-per-node 2"):
        resolve_device("cuda", Pair(rank=2, size=3))
