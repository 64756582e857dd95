"""Stages and terms: what a recipe may say, and what is left of it when terms have weight 0."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from i2ikd.recipe import Reference, Stage, Term, active_stages


def stage(name: str, *weights: float, **settings: Any) -> Stage:
    return Stage(name=name, terms=[Term(distiller=f"d{i}", weight=w) for i, w in enumerate(weights)], **settings)


class TestTerm:
    def test_a_distiller_is_a_name_or_a_table_with_options(self) -> None:
        assert Term(distiller="attention").distiller == Reference(name="attention")
        term = Term.model_validate({"distiller": {"name": "attention", "mode": "code", "p": 2}})
        assert (term.distiller.name, term.distiller.options) == ("attention", {"mode": "code", "p": 2})
        assert term.weight == 1.0

    def test_pairs_are_written_out_or_named(self) -> None:
        assert Term(distiller="a", pairs="dc-cnn").pairs == "dc-cnn"
        written = Term.model_validate({"distiller": "a", "pairs": [["layers.2", "layers.1"]]})
        assert written.pairs == [("layers.2", "layers.1")]

    @pytest.mark.parametrize(
        ("wrong", "place"),
        [
            ({"distiller": "a", "weight": -0.5}, "weight"),
            ({"distiller": "a", "ratio": 0}, "ratio"),
            ({"distiller": "a", "wieght": 1}, "wieght"),
            ({"distiller": {"mode": "code"}}, "distiller"),
            ({"weight": 1}, "distiller"),
            ({"distiller": "a", "pairs": [["one"]]}, "pairs"),
        ],
    )
    def test_what_is_wrong_is_refused_where_it_is(self, wrong: dict[str, Any], place: str) -> None:
        with pytest.raises(ValidationError) as caught:
            Term.model_validate(wrong)
        assert {error["loc"][0] for error in caught.value.errors()} == {place}

    @pytest.mark.parametrize(
        ("weight", "ratio", "active"), [(0.0, None, False), (0.25, None, True), (0.0, 0.5, True), (1.0, None, True)]
    )
    def test_is_active_unless_its_weight_is_zero(self, weight: float, ratio: float | None, active: bool) -> None:
        assert Term(distiller="a", weight=weight, ratio=ratio).active is active


class TestStage:
    def test_needs_a_term(self) -> None:
        with pytest.raises(ValidationError, match="the stage 'attention' has no terms"):
            Stage(name="attention", terms=[])

    @pytest.mark.parametrize("wrong", [{"epochs": -1}, {"start": "beginning"}, {"epoch": 3}, {"terms": "target"}])
    def test_refuses_what_is_wrong(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Stage.model_validate({"name": "s", "terms": [{"distiller": "target"}], **wrong})

    def test_starts_from_the_stage_before_unless_told_otherwise(self) -> None:
        assert stage("s", 1).start == "previous"
        assert stage("s", 1).epochs is None

    def test_has_a_share_of_the_epochs_or_a_number_of_them(self) -> None:
        assert stage("s", 1, share=0.3).share == 0.3
        for wrong in ({"epochs": 3}, {"training": {"epochs": 3}}):
            with pytest.raises(ValidationError, match="the stage 's' has both a share and epochs; state one of them"):
                stage("s", 1, share=0.3, **wrong)

    @pytest.mark.parametrize("share", [0, -0.1, 1.01])
    def test_a_share_is_above_0_and_at_most_1(self, share: float) -> None:
        with pytest.raises(ValidationError, match="share"):
            stage("s", 1, share=share)


class TestActiveStages:
    def test_terms_of_weight_zero_and_stages_without_others_are_dropped(self) -> None:
        stages = [stage("attention", 0, 0), stage("reconstruction", 0.5, 0, 2, epochs=3, start="fresh")]
        (kept,) = active_stages(stages)
        assert (kept.name, kept.epochs, kept.start) == ("reconstruction", 3, "fresh")
        assert [(term.distiller.name, term.weight) for term in kept.terms] == [("d0", 0.5), ("d2", 2.0)]

    def test_the_recipe_itself_stays_as_it_was(self) -> None:
        stages = [stage("one", 0, 1)]
        active_stages(stages)
        assert [len(one.terms) for one in stages] == [2]

    def test_with_all_teacher_terms_at_zero_it_is_plain_training(self) -> None:
        plain = [Stage(name="reconstruction", terms=[Term(distiller="target")])]
        distilled = [
            Stage(name="attention", terms=[Term(distiller="attention", weight=0)]),
            Stage(
                name="reconstruction",
                terms=[Term(distiller="target"), Term(distiller="imitation", weight=0, pairs="dc-cnn")],
            ),
        ]
        assert active_stages(distilled) == active_stages(plain) == plain

    def test_nothing_is_left_of_a_recipe_without_weights(self) -> None:
        assert active_stages([stage("one", 0), stage("two", 0, 0)]) == []
