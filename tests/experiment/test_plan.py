"""The store: finished runs are reused; changed ones are trained again, with the reason printed."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from i2ikd.callback import NullCallback
from i2ikd.engine.loop import Interrupted
from i2ikd.experiment.compare import compare
from i2ikd.experiment.plan import decide
from i2ikd.experiment.schedule import train_arms, train_teacher

TEACHER, STUDENT, CONTROL, KD = 4, 4, 8, 8
"""Optimiser steps of the tiny experiment."""
QUIET: dict[str, Any] = {"log": lambda _: None}


class Session:
    """Trains the arms of an experiment; returns the printed lines and the number of steps."""

    def __init__(self, laboratory: Any, optimiser_steps: Any) -> None:
        self.laboratory = laboratory
        self.steps = optimiser_steps

    def __call__(self, *overrides: str, only: str = "", **settings: Any) -> tuple[list[str], int]:
        graph = self.laboratory.graph(*overrides, **settings)
        lines: list[str] = []
        self.steps.count = 0
        train_teacher(graph, 0, log=lines.append)
        arms = [arm for arm in graph.context.experiment.arms if only in ("", arm.name)]
        train_arms(graph, arms, 0, log=lambda line: None if "teacher/" in line else lines.append(line))
        return [line.strip() for line in lines], self.steps.count


@pytest.fixture
def session(laboratory: Any, optimiser_steps: Any) -> Session:
    return Session(laboratory, optimiser_steps)


REUSED = [f"reuse  {name}/seed0" for name in ("teacher", "students/student", "students/control", "students/kd-mri")]


def test_what_did_not_change_is_reused(session: Session) -> None:
    lines, steps = session()
    assert steps == TEACHER + STUDENT + CONTROL + KD
    assert lines == [line.replace("reuse", "train") for line in REUSED]
    assert session() == (REUSED, 0)


def test_settings_that_no_number_depends_on_change_nothing(session: Session) -> None:
    session()
    assert session("training.cache_mib=0", "training.workers=0", "comparison.latency=true")[1] == 0


def test_an_option_of_one_arm_trains_that_arm_and_prints_the_reason(session: Session) -> None:
    session()
    lines, steps = session("arms.kd-mri.alpha=0.25")
    assert steps == KD
    assert lines[:3] == REUSED[:3]
    assert lines[3].startswith("train  students/kd-mri/seed0  (changed: stages.1.terms.0.weight: 0.5 -> 0.25; ")
    assert session() == (REUSED, 0), "the old settings are still there"
    assert session("arms.kd-mri.alpha=0.25")[1] == 0


def test_more_epochs_train_everything(session: Session) -> None:
    session()
    lines, steps = session("training.epochs=3")
    assert steps == (TEACHER + STUDENT + CONTROL + KD) * 3 // 2
    assert all("stages.0.training.epochs: 2 -> 3" in line for line in lines)


@pytest.mark.parametrize(
    ("override", "trained", "reason"),
    [
        ("teacher.depth=5", TEACHER + KD, "options.depth: 4 -> 5"),
        ("teacher.training.lr=0.01", TEACHER + KD, "training.lr: 0.001 -> 0.01"),
        ("student.channels=3", STUDENT + CONTROL + KD, "options.channels: 4 -> 3"),
        ("task.mask.acceleration=5", TEACHER + STUDENT + CONTROL + KD, "task.mask.acceleration: 4.0 -> 5.0"),
        ("task.dataset.train=3", TEACHER + STUDENT + CONTROL + KD + 12, "task.dataset.train: 2 -> 3"),
        ('pairs=[["cascades.1.layers.1", "cascades.1.layers.1"]]', KD, "pairs: null -> "),
    ],
)
def test_what_depends_on_a_change_is_trained_again(override: str, trained: int, reason: str, session: Session) -> None:
    session()
    lines, steps = session(override)
    assert steps == trained
    printed = [line for line in lines if line.startswith("train")]
    assert any(reason in line for line in printed), printed
    assert all("changed:" in line for line in printed)


def test_a_new_arm_is_trained_alone(session: Session) -> None:
    session()
    arms = [{"name": "student"}, {"name": "fit", "recipe": "joint", "distiller": "fitnet"}]
    lines, steps = session(arms=arms)
    assert (lines, steps) == ([*REUSED[:2], "train  students/fit/seed0"], 4)


def test_a_renamed_arm_is_the_same_run(session: Session) -> None:
    session()
    lines, steps = session(arms=[{"name": "plain"}])
    assert (lines, steps) == ([REUSED[0], "reuse  students/plain/seed0"], 0)
    root = session.laboratory.folder / "out" / "students"
    assert (root / "plain" / "seed0").resolve() == (root / "student" / "seed0").resolve()


def test_a_new_seed_trains_a_new_teacher_and_students(session: Session) -> None:
    session()
    graph = session.laboratory.graph("seeds=[0, 3]")
    session.steps.count = 0
    for seed in (0, 3):
        train_teacher(graph, seed, **QUIET)
        train_arms(graph, graph.context.experiment.arms, seed, **QUIET)
    assert session.steps.count == TEACHER + STUDENT + CONTROL + KD
    assert graph.teacher_run(0).folder != graph.teacher_run(3).folder


def test_an_interrupted_run_is_gone_on_with(session: Session, laboratory: Any) -> None:
    class Stop(NullCallback):
        left = 6

        def on_step_end(self) -> None:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGINT)

    callback = Stop()
    with pytest.raises(Interrupted):
        laboratory.train(laboratory.graph(), "kd-mri", callback=callback)
    graph = laboratory.graph()
    decision = decide(graph.context, graph.arm_run(graph.context.experiment.arm("kd-mri"), 0))
    assert str(decision).strip() == "go on  students/kd-mri/seed0  (it was interrupted)"
    lines, steps = session(only="kd-mri")
    assert lines == [REUSED[0], "go on  students/kd-mri/seed0  (it was interrupted)"]
    assert steps == KD - 2


def test_a_run_whose_weights_were_deleted_is_made_again(session: Session, laboratory: Any, identical: Any) -> None:
    session()
    graph = laboratory.graph()
    run = graph.arm_run(graph.context.experiment.arm("kd-mri"), 0)
    before = laboratory.weights(run)
    shutil.rmtree(run.folder.path)
    assert session()[1] == KD
    assert identical(laboratory.weights(run), before)


def test_only_the_teacher_that_an_arm_needs_is_trained(laboratory: Any, optimiser_steps: Any) -> None:
    laboratory.train(laboratory.graph(), "student")
    assert optimiser_steps.count == STUDENT


def write_volumes(root: Path) -> None:
    for number, split in enumerate(("train", "val", "test")):
        (root / split).mkdir(parents=True)
        for volume in range(2):
            values = np.random.default_rng([number, volume]).random((16, 12, 2), dtype=np.float32) + 0.1
            with h5py.File(root / split / f"{split}-{volume}.h5", "w") as file:
                file["volfs"] = values


def test_moving_the_data_trains_nothing(session: Session, tmp_path: Path) -> None:
    write_volumes(tmp_path / "here")
    dataset = "task.dataset={name='folder', root='ROOT'}"
    first = session(dataset.replace("ROOT", str(tmp_path / "here")))
    assert first[1] > 0
    (tmp_path / "here").rename(tmp_path / "there")
    assert session(dataset.replace("ROOT", str(tmp_path / "there"))) == (REUSED, 0)


def test_moving_the_output_folder_trains_nothing(session: Session, laboratory: Any) -> None:
    session()
    (laboratory.folder / "out").rename(laboratory.folder / "moved")
    assert session(out="moved") == (REUSED, 0)
    link = laboratory.folder / "moved" / "students" / "kd-mri" / "seed0"
    assert (link / "weights.pt").is_file(), "names point to places relative to themselves"


def test_scores_are_kept_with_the_weights(laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second comparison evaluates nothing; one with another test split evaluates everything."""
    first = compare(laboratory.graph(), laboratory.graph().context.experiment.arms, [0], **QUIET)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("evaluated again")

    with monkeypatch.context() as patch:
        patch.setattr("i2ikd.experiment.scores.evaluate_network", refuse)
        patch.setattr("i2ikd.experiment.scores.evaluate_baselines", refuse)
        again = compare(laboratory.graph(), laboratory.graph().context.experiment.arms, [0], **QUIET)
        assert again.records == first.records
    kept = next((laboratory.folder / "out" / "store").glob("*/records.csv"))
    kept.unlink()
    repaired = compare(laboratory.graph(), laboratory.graph().context.experiment.arms, [0], **QUIET)
    assert repaired.records == first.records
