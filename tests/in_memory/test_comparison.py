"""``i2ikd.compare`` on networks and data in memory: arms, control, table, report, and an unchanged process."""

from __future__ import annotations

import copy
import ctypes
import json
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import i2ikd
from i2ikd import Stage, Term
from i2ikd.in_memory.samples import digest_of, read_samples


@pytest.fixture(scope="module")
def compared(world: Any, edge: Any) -> i2ikd.ComparisonResult:
    """Arms of every form."""
    stages = [
        Stage(name="edges", terms=[Term(distiller=edge(2.0))]),
        Stage(name="all", terms=[Term(distiller="target")]),
    ]
    result: i2ikd.ComparisonResult = world.compare(
        arms=[
            "imitation",
            edge,
            {"name": "object", "recipe": edge(1.5), "weight": 0.1},
            {"name": "stages", "recipe": stages},
            {"name": "option", "recipe": "kd-mri", "distiller": {"name": edge, "power": 2.0}},
        ],
        seeds=[4],
    )
    return result


def test_arms_are_recipes_distillers_and_stages_beside_student_and_control(
    compared: i2ikd.ComparisonResult,
) -> None:
    names = [row["arm"] for row in compared.rows]
    assert names == ["input", "teacher", "student", "control", "imitation", "Edge", "object", "stages", "option"]
    arms = [row for row in compared.rows if row["kind"] == "arm"]
    assert all(row["psnr"]["n"] == 6 for row in arms)
    assert len({row["psnr"]["mean"] for row in arms}) == len(arms), "every method trains another student"
    assert all("control" in row["differences"] for row in arms if row["arm"] not in ("control",))


def test_the_control_has_the_steps_and_restarts_of_the_longest_arm(compared: i2ikd.ComparisonResult) -> None:
    graph = compared._graph
    stages = {arm.name: graph.arm_run(arm, 4).stages for arm in graph.context.experiment.arms}
    assert [len(stages[name]) for name in ("student", "control", "stages")] == [1, 2, 2]
    assert [stage.epochs for stage in stages["control"]] == [stage.epochs for stage in stages["stages"]]


def test_the_table_is_that_of_the_networks_that_it_returns(compared: i2ikd.ComparisonResult, world: Any) -> None:
    student = compared.network("option")
    psnr = i2ikd.create("metric", "psnr-slice-max")
    with torch.no_grad():
        outputs = [student(source[None])[0, 0] for source, _ in world.pairs[6:]]
    own = [float(psnr(out.numpy(), target[0].numpy())) for out, (_, target) in zip(outputs, world.pairs[6:])]
    stated = next(row["psnr"]["mean"] for row in compared.rows if row["arm"] == "option")
    assert np.mean(own) == pytest.approx(stated, abs=1e-3)


def test_the_result_is_shown_as_text_html_figure_and_data_frame(compared: i2ikd.ComparisonResult) -> None:
    assert "control" in str(compared) and compared.verdict[-1] in " ".join(str(compared).split())
    html = compared._repr_html_()
    assert html.count("<tr>") == 1 + len(compared.rows) and "<li>" in html
    assert len(compared.plot().axes[0].get_yticks()) == 6
    frame = pytest.importorskip("pandas") and compared.to_pandas()
    assert frame.loc["option", "psnr"] == next(row["psnr"]["mean"] for row in compared.rows if row["arm"] == "option")


def test_a_folder_has_the_report_and_is_continued_from(
    world: Any, tmp_path: Path, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    monkeypatch.setattr("i2ikd.report.write.write_report", lambda comparison, out, registry: written.append(out))
    first = world.compare(out=tmp_path / "out")
    assert written == [tmp_path / "out"] and (tmp_path / "out" / "pictures.npz").is_file()
    caplog.set_level(logging.INFO, logger="i2ikd")
    again = world.compare(out=tmp_path / "out")
    assert [text for text in caplog.messages if text.startswith((" train", "  train"))] == []
    assert [row["psnr"] for row in again.rows] == [row["psnr"] for row in first.rows]
    caplog.clear()
    other = copy.deepcopy(world.teacher)
    other[0].weight.data += 0.1
    world.compare(teacher=other, out=tmp_path / "out")
    assert any("train  students/imitation" in text for text in caplog.messages), "another teacher is another run"


def test_loaders_dicts_batches_and_samples_are_the_same_data(world: Any) -> None:
    pairs = world.pairs[:4]
    forms: list[Any] = [
        pairs,
        DataLoader(pairs, batch_size=3),
        [{"input": source, "target": target} for source, target in pairs],
        [i2ikd.Batch(torch.stack([s for s, _ in pairs]), torch.stack([t for _, t in pairs]))],
    ]
    read = [read_samples(form, "train") for form in forms]
    assert len({tuple(digest_of(sample) for sample in samples) for samples in read}) == 1
    assert {tuple(sample.key for sample in samples) for samples in read} == {tuple(s.key for s in read[0])}
    assert read_samples(read[0], "train") == read[0]


def test_data_that_is_random_is_read_once_with_a_warning(world: Any) -> None:
    class Noisy(Dataset[tuple[Tensor, Tensor]]):
        """New noise whenever an item is read."""

        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            clean = world.pairs[index][1]
            return clean + 0.1 * torch.rand_like(clean), clean

    with pytest.warns(UserWarning, match=r"train: a second pass .* returns other samples .* has the 4 samples of") as w:
        result = world.compare(train=DataLoader(Noisy(), batch_size=2))
    assert [warning.filename for warning in w] == [str(Path(__file__).with_name("conftest.py"))], (
        "where compare is called"
    )
    task = result._graph.context.task
    first, again = ([digest_of(task.dataset("train").sample(0, seed)) for seed in (1, 2)] for _ in range(2))
    assert len({*first, *again}) == 1, "the draws of the first pass stay"


def test_an_order_that_is_random_is_no_reason_for_a_warning(world: Any) -> None:
    assert len(read_samples(DataLoader(world.pairs, batch_size=5, shuffle=True), "train")) == len(world.pairs)


def test_distil_reads_its_loader_in_every_epoch(world: Any, make_network: Any) -> None:
    read: list[float] = []

    class Noisy(Dataset[tuple[Tensor, Tensor]]):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            source, target = world.pairs[index]
            source = source + torch.rand(())
            read.append(float(source.sum()))
            return source, target

    i2ikd.distill(world.teacher, make_network(), DataLoader(Noisy(), batch_size=2), epochs=3, recipe="imitation")
    assert len(set(read[-6:])) == 6, "the samples of three epochs differ"


def test_subjects_are_what_statistics_resample(world: Any) -> None:
    items = [
        {"input": source, "target": target, "subject": f"patient {index // 2}", "mask": source > 0}
        for index, (source, target) in enumerate(world.pairs[6:])
    ]
    samples = read_samples(items, "test")
    assert [sample.key.subject for sample in samples] == [f"patient {index // 2}" for index in range(6)]
    assert len({sample.key for sample in samples}) == 6 and samples[0].conditions.keys() == {"mask"}


def test_random_states_allocator_and_networks_are_left_as_they_are(world: Any, monkeypatch: Any, capfd: Any) -> None:
    called: list[str] = []
    library = ctypes.CDLL
    monkeypatch.setattr(ctypes, "CDLL", lambda name, *rest, **more: called.append(str(name)) or library(name))
    i2ikd.keep_large_blocks.cache_clear()
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index, union-attr]
    weights = {name: tensor.clone() for name, tensor in world.teacher.state_dict().items()}
    world.teacher.train()
    result = world.compare()
    result.network("student")
    loader = DataLoader(world.pairs[:4], batch_size=2, shuffle=True)
    i2ikd.distill(world.teacher, result.network("student"), loader, epochs=1, recipe="imitation")
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[index, union-attr]
    assert torch.equal(torch.get_rng_state(), states[2])
    assert "libc.so.6" not in called
    assert world.teacher.training
    assert all(torch.equal(tensor, weights[name]) for name, tensor in world.teacher.state_dict().items())
    assert capfd.readouterr() == ("", ""), "nothing is printed outside a terminal"


def test_progress_is_shown_on_request_and_trackers_receive_the_table(world: Any, capsys: Any, tmp_path: Path) -> None:
    tracker = i2ikd.TrackerCallback([i2ikd.create("tracker", "json-lines", path=tmp_path / "log")])
    world.compare(progress=True, callback=tracker)
    tracker.close()
    *epochs, last = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert len(epochs) == 2 and [row["arm"] for row in last["table"]][-1] == "imitation"
    printed = capsys.readouterr()
    assert printed.out == "" and "run 1 of 2  students/student/seed0" in printed.err
