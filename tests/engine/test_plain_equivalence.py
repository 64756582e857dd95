"""A recipe whose teacher terms all have weight 0 is plain training, bit for bit; a control has KD-MRI's budget."""

from __future__ import annotations

from typing import Any

import pytest
import torch

PLAIN = {"name": "plain", "recipe": "student"}
TWENTY_STEPS = "training.epochs=10"


@pytest.mark.parametrize(
    "options",
    [
        {"recipe": "kd-mri", "weight": 0, "alpha": 1},
        {"recipe": "joint", "weight": 0},
        {"recipe": "joint", "weight": 0, "alpha": 1, "distiller": {"name": "fitnet"}},
        {"recipe": "imitation", "alpha": 1.0},
        {
            "recipe": "custom",
            "stages": [{"name": "all", "terms": [{"distiller": "target"}, {"distiller": "attention", "weight": 0}]}],
        },
    ],
    ids=lambda options: options["recipe"],
)
def test_teacher_terms_of_weight_0_leave_plain_training(
    options: dict[str, Any], laboratory: Any, identical: Any, optimiser_steps: Any
) -> None:
    graph = laboratory.graph(TWENTY_STEPS, arms=[PLAIN, {"name": "silent", **options}])
    silent = laboratory.train(graph, "silent")
    assert optimiser_steps.count == 20, "no teacher is trained for it either"
    assert silent.specification.inputs == {}
    assert identical(laboratory.weights(silent), laboratory.weights(laboratory.train(graph, "plain")))


def test_a_small_weight_is_not_weight_0(laboratory: Any, identical: Any) -> None:
    graph = laboratory.graph(arms=[PLAIN, {"name": "quiet", "recipe": "joint", "weight": 1e-3}])
    quiet, plain = (laboratory.weights(laboratory.train(graph, name)) for name in ("quiet", "plain"))
    assert not identical(quiet, plain)
    assert all(torch.allclose(quiet[name], plain[name], atol=0.1) for name in plain)


def test_the_control_makes_as_many_steps_as_kd_mri(laboratory: Any, optimiser_steps: Any) -> None:
    graph = laboratory.graph("training.epochs=3")
    laboratory.train(graph, "kd-mri")
    teacher, optimiser_steps.count = 6, optimiser_steps.count - 6
    assert optimiser_steps.count == 12
    optimiser_steps.count = 0
    laboratory.train(graph, "control")
    assert optimiser_steps.count == 2 * teacher == 12


def test_a_stage_restarts_the_learning_rate_and_goes_on_from_the_weights(laboratory: Any) -> None:
    changes = ("training.schedule=cosine", "training.epochs=4", "training.select=last")
    graph = laboratory.graph(*changes)
    control = laboratory.train(graph, "control").folder.read("history")
    rates = [row["lr"] for row in control]
    assert rates[:4] == rates[4:] and rates[0] > rates[3]
    student = laboratory.train(graph, "student").folder.read("history")
    assert control[:4] == student, "the first stage is the plain student"
    assert control[4]["losses"]["total"] < student[0]["losses"]["total"]


def test_the_stages_of_kd_mri_are_features_then_output(laboratory: Any) -> None:
    graph = laboratory.graph(arms=[{"name": "kd", "recipe": "kd-mri", "feature_epochs": 1, "epochs": 3}])
    history = laboratory.train(graph, "kd").folder.read("history")
    assert [row["stage"] for row in history] == ["features"] + ["output"] * 3
    assert history[0]["losses"].keys() == {"total", "attention"}
    assert history[0]["validation"] is None, "a stage that never uses the image has no validation loss"
    assert history[1]["losses"].keys() == {"total", "target", "imitation"}
    losses = history[1]["losses"]
    assert losses["total"] == pytest.approx(0.5 * losses["target"] + 0.5 * losses["imitation"], rel=1e-6)
