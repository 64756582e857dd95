"""Stages and terms: what a recipe may state, and what is left of it when terms have weight 0."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from i2ikd.recipe import Reference, Stage, Start, Term, WeightSchedule, active_stages


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


class TestWeightSchedule:
    def test_it_is_linear_over_its_share_of_the_stage_and_then_stays(self) -> None:
        schedule = WeightSchedule(start=2.0, end=0.5, until=0.4)
        assert [schedule.at(epoch, 10) for epoch in range(10)] == pytest.approx(
            [2.0, 1.625, 1.25, 0.875, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
        )

    def test_it_rises_too_and_without_until_over_the_whole_stage(self) -> None:
        term = Term.model_validate({"distiller": "a", "weight": {"start": 0, "end": 1}})
        assert [term.weight_at(epoch, 4) for epoch in range(4)] == [0, 0.25, 0.5, 0.75]

    def test_a_number_is_the_same_in_every_epoch(self) -> None:
        assert {Term(distiller="a", weight=0.3).weight_at(epoch, 5) for epoch in range(5)} == {0.3}

    @pytest.mark.parametrize(
        "wrong",
        [
            {"start": -1, "end": 0}, {"start": 0, "end": -1}, {"start": 0}, {"end": 0},
            {"start": 0, "end": 1, "until": 0}, {"start": 0, "end": 1, "until": 1.5},
            {"start": 0, "end": 1, "untill": 1},
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Term.model_validate({"distiller": "a", "weight": wrong})

    @pytest.mark.parametrize(("start", "end", "active"), [(0, 0, False), (0, 0.5, True), (0.5, 0, True)])
    def test_a_term_is_active_unless_its_weight_is_always_zero(self, start: float, end: float, active: bool) -> None:
        term = Term(distiller="a", weight=WeightSchedule(start=start, end=end, until=0.25))
        assert term.active is active
        assert (active_stages([Stage(name="s", terms=[term])]) == []) is not active


class TestStart:
    def test_a_role_alone_is_short_for_a_table(self) -> None:
        short = Stage.model_validate({"name": "s", "terms": [{"distiller": "target"}], "start": "teacher"})
        assert short.start == Start.model_validate({"from": "teacher"})
        assert short.model_dump(mode="json")["start"] == {"source": "teacher", "map": None, "network": None}

    def test_a_map_has_pairs_of_paths(self) -> None:
        with pytest.raises(ValidationError):
            Start.model_validate({"from": "teacher", "map": [["one"]]})
        made = Start.model_validate({"from": "teacher", "map": [["a.*", "b.*"]]})
        assert made.map == [("a.*", "b.*")]


class TestStage:
    def test_has_terms_or_an_objective_and_not_both(self) -> None:
        assert Stage(name="s", objective=Reference(name="mutual")).minimises == Reference(name="mutual")
        with pytest.raises(ValidationError, match="the stage 's' has both terms and an objective; state one of them"):
            Stage(name="s", terms=[Term(distiller="a")], objective=Reference(name="mutual"))

    def test_terms_are_options_of_the_default_objective(self) -> None:
        made = stage("s", 0.5).minimises
        assert made.name == "weighted-terms"
        assert [Term.model_validate(term) for term in made.options["terms"]] == [Term(distiller="d0", weight=0.5)]

    def test_a_stage_with_an_objective_is_always_active(self) -> None:
        kept = Stage(name="s", objective=Reference(name="mutual"))
        assert active_stages([kept, stage("dropped", 0)]) == [kept]

    def test_needs_a_term(self) -> None:
        with pytest.raises(ValidationError, match="the stage 'attention' has neither terms nor an objective"):
            Stage(name="attention", terms=[])

    @pytest.mark.parametrize(
        "wrong", [{"epochs": -1}, {"start": {"form": "teacher"}}, {"start": 3}, {"epoch": 3}, {"terms": "target"}]
    )
    def test_refuses_what_is_wrong(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            Stage.model_validate({"name": "s", "terms": [{"distiller": "target"}], **wrong})

    def test_starts_from_the_stage_before_by_default(self) -> None:
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
