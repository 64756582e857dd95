"""Recipes of the core: their stages, and refused options."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from i2ikd import Stage, UserError
from i2ikd.registry import default_registry


def stages(recipe: str, **options: Any) -> list[Stage]:
    result: list[Stage] = default_registry().create("recipe", recipe, options)
    return result


def terms(stage: Stage) -> dict[str, float]:
    return {term.distiller.name: term.weight for term in stage.terms}


def test_student_is_one_stage_of_target() -> None:
    (stage,) = stages("student")
    assert terms(stage) == {"target": 1} and stage.epochs is None and stage.start == "previous"


def test_the_control_is_two_stages_of_target() -> None:
    first, second = stages("student", stages=2, epochs=5)
    assert first.name != second.name
    assert terms(first) == terms(second) == {"target": 1}
    assert (first.epochs, second.epochs, second.start) == (5, 5, "previous")


def test_kd_mri_is_a_feature_stage_then_target_and_imitation() -> None:
    features, output = stages("kd-mri", alpha=0.3, feature_epochs=2, epochs=7, weight=4.0, pairs=[["a", "b"]])
    assert (features.name, features.epochs, terms(features)) == ("features", 2, {"attention": 4})
    assert features.terms[0].pairs == [("a", "b")]
    assert (output.name, output.epochs, output.start) == ("output", 7, "previous")
    assert terms(output) == pytest.approx({"target": 0.3, "imitation": 0.7})


def test_a_distiller_is_named_with_or_without_options() -> None:
    features, _ = stages("kd-mri", distiller={"name": "attention", "mode": "code"}, ratio=0.5)
    assert features.terms[0].distiller.options == {"mode": "code"}
    assert features.terms[0].ratio == 0.5
    assert terms(stages("kd-mri", distiller="fitnet")[0]) == {"fitnet": 1}


def test_imitation_and_joint_weight_their_terms() -> None:
    (output,) = stages("imitation", alpha=0.25, loss="mse")
    assert terms(output) == {"target": 0.25, "imitation": 0.75}
    assert output.terms[1].distiller.options == {"loss": "mse"}
    (joint,) = stages("joint", alpha=0.9, weight=3, distiller="pkt")
    assert terms(joint) == pytest.approx({"target": 0.9, "imitation": 0.1, "pkt": 3})
    for recipe in ("imitation", "joint"):
        names = [stage.name for stage in stages(recipe, stages=3)]
        assert len(names) == len(set(names)) == 3


def test_custom_returns_the_configured_stages() -> None:
    (stage,) = stages("custom", stages=[{"name": "a", "terms": [{"distiller": "srd", "weight": 2}], "epochs": 3}])
    assert (stage.name, stage.epochs, terms(stage)) == ("a", 3, {"srd": 2})


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        ("kd-mri", {"alpha": 1.5}, "alpha = 1.5: should be less than or equal to 1"),
        ("kd-mri", {"alhpa": 0.5}, "unknown option 'alhpa'; did you mean 'alpha'?"),
        ("kd-mri", {"epochs": 0}, "epochs = 0: should be greater than 0"),
        ("student", {"stages": 0}, "stages = 0"),
        ("student", {"distiller": "attention"}, "unknown option 'distiller'"),
        ("joint", {"weight": -1}, "weight = -1"),
        ("joint", {"ratio": 0}, "ratio = 0"),
        ("joint", {"distiller": {"mode": "code"}}, "distiller.name"),
        ("custom", {"stages": []}, "stages = []"),
        ("custom", {}, "the option 'stages' is missing"),
        ("custom", {"stages": [{"name": "a", "terms": []}]}, "the stage 'a' has neither terms nor an objective"),
        (
            "custom",
            {"stages": [{"name": "a", "terms": [{"distiller": "srd", "wieght": 1}]}]},
            "unknown option 'stages.0.terms.0.wieght'; did you mean 'weight'?",
        ),
        (
            "custom",
            {"stages": [{"name": "a", "terms": [{"distiller": "srd"}], "epcohs": 1}]},
            "unknown option 'stages.0.epcohs'; did you mean 'epochs'?",
        ),
    ],
)
def test_invalid_options_are_reported(recipe: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        stages(recipe, **options)
    assert message in str(caught.value)


def test_recipes_do_not_import_torch() -> None:
    code = "import sys, i2ikd.builtin.recipes as r; r.kd_mri(); r.student(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
