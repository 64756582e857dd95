"""The graph of runs: arms that teach arms, ensembles, what a digest depends on, options that the task states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import i2ikd
from i2ikd import UserError
from i2ikd.engine.run import load_network, network_builder
from i2ikd.experiment.checks import check
from i2ikd.experiment.compare import compare
from i2ikd.experiment.graph import MEMBER_SEEDS
from i2ikd.experiment.networks import load_input
from i2ikd.experiment.plan import plan
from i2ikd.experiment.schedule import train_arms

CHAIN = [
    {"name": "last", "recipe": "imitation", "teacher": "middle"},
    {"name": "middle", "recipe": "imitation", "alpha": 0.25, "teacher": "first"},
    {"name": "first", "recipe": "imitation"},
    {"name": "student"},
]


def digest(graph: Any, name: str, seed: int = 0) -> str:
    found: str = graph.arm_run(graph.context.experiment.arm(name), seed).specification.digest
    return found


class TestArmsThatTeach:
    def test_each_is_trained_after_those_that_it_learns_from(self, laboratory: Any) -> None:
        graph = laboratory.graph(arms=CHAIN)
        lines: list[str] = []
        train_arms(graph, [graph.context.experiment.arm("last")], 0, log=lines.append)
        assert [line.split()[1] for line in lines] == [
            "teacher/seed0", "students/first/seed0", "students/middle/seed0", "students/last/seed0",
        ]  # fmt: skip

    def test_whatever_the_order_of_the_arms_all_are_trained_once(self, laboratory: Any, optimiser_steps: Any) -> None:
        graph = laboratory.graph(arms=CHAIN)
        compare(graph, graph.context.experiment.arms, [0], log=lambda _: None)
        assert optimiser_steps.count == 4 * 5, "four steps each: the teacher and four arms"
        again = laboratory.graph(arms=CHAIN)
        compare(again, again.context.experiment.arms, [0], log=lambda _: None)
        assert optimiser_steps.count == 4 * 5

    def test_a_finished_run_needs_no_input_any_more(self, laboratory: Any) -> None:
        graph = laboratory.graph(arms=CHAIN)
        run = laboratory.train(graph, "last")
        for needed in (run.required[0], *run.required[0].required):
            needed.folder.weights.unlink()
        again = laboratory.graph(arms=CHAIN)
        found = plan(again, [again.context.experiment.arm("last")], [0], teachers=False)
        assert [str(decision).split() for decision in found.decisions] == [["reuse", "students/last/seed0"]]
        assert found.groups == ()

    def test_it_learns_from_the_other_arms_network(self, laboratory: Any) -> None:
        """The imitation of the only batch of the first epoch, from both saved networks."""
        graph = laboratory.graph("training.batch=4", "training.epochs=1", arms=CHAIN)
        run = laboratory.train(graph, "middle")
        (first,) = run.inputs["teacher"]
        assert first.name == "students/first/seed0"
        theirs = load_network(graph.context.registry, first.folder)
        same = "both students begin with the weights of their seed"
        ours = i2ikd.create("model", "dc-cnn", **run.specification.options)
        ours.load_state_dict(_initial(graph, run), strict=True)
        losses = []
        samples = graph.context.dataset("train")
        for index in range(len(samples)):
            sample = samples[index]
            conditions = {name: tensor[None] for name, tensor in sample.conditions.items()}
            with torch.no_grad():
                left, right = (network(sample.input[None], **conditions) for network in (ours, theirs))
            losses.append(float((left - right).abs().mean()))
        found = run.folder.read("history")[0]["losses"]["imitation"]
        assert found == pytest.approx(sum(losses) / len(losses), rel=1e-4), same

    def test_a_change_of_the_teaching_arm_changes_all_that_learn_from_it(self, laboratory: Any) -> None:
        before, after = laboratory.graph(arms=CHAIN), laboratory.graph("arms.first.alpha=0.75", arms=CHAIN)
        changed = {arm["name"] for arm in CHAIN if digest(before, str(arm["name"])) != digest(after, str(arm["name"]))}
        assert changed == {"first", "middle", "last"}

    def test_the_reason_names_the_input(self, laboratory: Any) -> None:
        laboratory.train(laboratory.graph(arms=CHAIN), "middle")
        graph = laboratory.graph("arms.first.alpha=0.75", arms=CHAIN)
        found = plan(graph, [graph.context.experiment.arm("middle")], [0], teachers=False)
        reasons = {decision.run.name: decision.reason for decision in found.decisions}
        assert reasons["students/middle/seed0"].startswith("changed: inputs.teacher.0: ")
        assert "terms.0.weight: 0.5 -> 0.75" in reasons["students/first/seed0"]

    def test_every_seed_has_its_own(self, laboratory: Any) -> None:
        graph = laboratory.graph("seeds=[0, 4]", arms=CHAIN)
        runs = [graph.arm_run(graph.context.experiment.arm("middle"), seed) for seed in (0, 4)]
        assert [run.required[0].name for run in runs] == ["students/first/seed0", "students/first/seed4"]

    def test_the_experiments_teacher_can_be_named(self, laboratory: Any) -> None:
        arms = [{"name": "a", "recipe": "imitation"}, {"name": "b", "recipe": "imitation", "teacher": "teacher"}]
        graph = laboratory.graph(arms=arms)
        assert digest(graph, "a") == digest(graph, "b")


def _initial(graph: Any, run: Any) -> dict[str, Tensor]:
    state: dict[str, Tensor] = network_builder(graph.context.registry, run.specification, "x")().state_dict()
    return state


class Weighted(nn.Module):
    """A weighted mean of two networks."""

    def __init__(self, networks: Sequence[nn.Module], share: float) -> None:
        super().__init__()
        self.first, self.second = networks
        self.share = share

    def forward(self, input: Tensor, **conditions: Tensor) -> Tensor:
        left, right = self.first(input, **conditions), self.second(input, **conditions)
        mean: Tensor = self.share * left + (1 - self.share) * right
        return mean


class Combinations:
    @i2ikd.hookimpl
    def register_combinations(self, register: Any) -> None:
        def weighted(networks: list[nn.Module], share: float = 0.5) -> nn.Module:
            return Weighted(networks, share)

        register("weighted", weighted)
        register("odd", lambda networks: 3)


class TestEnsembles:
    CHANGES = ("teacher.ensemble=2", "teacher.combine={name='weighted', share=0.25}")

    def graph(self, laboratory: Any, *overrides: str, out: str = "out") -> Any:
        arms = [{"name": "student"}, {"name": "kd", "recipe": "imitation"}]
        changes = (*self.CHANGES, "comparison.latency=false", *overrides)
        return laboratory.graph(*changes, arms=arms, out=out, plugins=(Combinations(),))

    def test_members_differ_in_seed_alone(self, laboratory: Any) -> None:
        first, second = (run.specification for run in self.graph(laboratory).teacher_runs(3))
        assert (first.seed, second.seed) == (3, 3 + MEMBER_SEEDS)
        assert first.model_dump(exclude={"seed"}) == second.model_dump(exclude={"seed"})

    def test_the_combination_is_of_the_members_networks(self, laboratory: Any) -> None:
        graph = self.graph(laboratory)
        run = laboratory.train(graph, "kd")
        members = run.inputs["teacher"]
        registry, batch = graph.context.registry, graph.context.example()
        network = load_input(registry, members, run.specification.combine["teacher"])
        with torch.no_grad():
            alone = [load_network(registry, member.folder)(batch.input, **batch.conditions) for member in members]
            found = network(batch.input, **batch.conditions)
        assert not torch.equal(alone[0], alone[1])
        torch.testing.assert_close(found, 0.25 * alone[0] + 0.75 * alone[1], rtol=1e-5, atol=1e-6)
        assert not network.training

    def test_its_row_is_scored_and_costs_the_members(self, laboratory: Any, optimiser_steps: Any) -> None:
        graph = self.graph(laboratory)
        comparison = compare(graph, graph.context.experiment.arms, [0], log=lambda _: None)
        assert optimiser_steps.count == 4 * 4, "two teachers and two arms"
        single = laboratory.graph(arms=[{"name": "student"}], out="single")
        alone = compare(single, single.context.experiment.arms, [0], log=lambda _: None)
        assert comparison.row("teacher").costs.params == 2 * alone.row("teacher").costs.params
        assert comparison.row("teacher").metrics["psnr"].mean != alone.row("teacher").metrics["psnr"].mean

    def test_the_arm_depends_on_members_and_combination(self, laboratory: Any) -> None:
        graphs = [
            self.graph(laboratory),
            self.graph(laboratory, "teacher.combine.share=0.75"),
            self.graph(laboratory, "teacher.ensemble=1"),
        ]
        assert len({digest(graph, "kd") for graph in graphs}) == 3
        assert len({digest(graph, "student") for graph in graphs}) == 1

    def test_outputs_of_the_combination_are_cached(self, laboratory: Any, identical: Any) -> None:
        live, kept = (
            laboratory.train(self.graph(laboratory, f"training.cache_mib={limit}", out=str(limit)), "kd")
            for limit in (0, 64)
        )
        assert live.folder.read("history") == kept.folder.read("history")
        assert identical(laboratory.weights(live), laboratory.weights(kept))

    def test_one_that_is_no_network_is_refused_before_training(self, laboratory: Any, optimiser_steps: Any) -> None:
        graph = self.graph(laboratory, "teacher.combine=odd")
        with pytest.raises(UserError, match=r"combination 'odd': expected a torch\.nn\.Module, got int"):
            check(graph, graph.context.experiment.arms)
        assert optimiser_steps.count == 0

    def test_several_arms_fill_one_role(self, laboratory: Any) -> None:
        arms = [{"name": "a"}, {"name": "b", "recipe": "imitation"}, {"name": "kd", "recipe": "imitation"}]
        arms[2]["inputs"] = {"teacher": ["a", "b"]}  # type: ignore[assignment]
        graph = laboratory.graph("teacher.combine=weighted", arms=arms, plugins=(Combinations(),))
        run = laboratory.train(graph, "kd")
        assert [needed.name for needed in run.required] == ["students/a/seed0", "students/b/seed0"]
        assert run.folder.finished


class TestTaskOptions:
    """What the task determines is stated once."""

    def test_networks_take_it_from_the_task(self, laboratory: Any) -> None:
        graph = laboratory.graph("task.mode=complex", "task.centered=true")
        for run in (graph.teacher_run(0), graph.arm_run(graph.context.experiment.arms[0], 0)):
            assert run.specification.options["mode"] == "complex"
            assert run.specification.options["centered"] is True
        check(graph, graph.context.experiment.arms)

    def test_one_that_has_no_such_option_is_left_alone(self, laboratory: Any) -> None:
        graph = laboratory.graph("student={model='plain-cnn', depth=2, channels=3}")
        run = graph.arm_run(graph.context.experiment.arms[0], 0)
        assert run.specification.options == {"depth": 2, "channels": 3}

    def test_stating_it_again_changes_nothing(self, laboratory: Any) -> None:
        graphs = [laboratory.graph(), laboratory.graph("student.mode=real", "teacher.mode=real")]
        assert digest(graphs[0], "kd-mri") == digest(graphs[1], "kd-mri")

    @pytest.mark.parametrize("side", ["teacher", "student"])
    def test_a_contradiction_is_refused(self, side: str, laboratory: Any) -> None:
        graph = laboratory.graph(f"{side}.mode=complex")
        message = f"{side}: mode = 'complex' contradicts the task, whose mode is 'real'; state it in \\[task\\] alone"
        with pytest.raises(UserError, match=message):
            check(graph, graph.context.experiment.arms)


def test_a_teachers_recipe_without_inputs_trains_it(laboratory: Any) -> None:
    graph = laboratory.graph("teacher.recipe={name='student', stages=2}", arms=[{"name": "kd", "recipe": "imitation"}])
    run = laboratory.train(graph, "kd")
    history = run.required[0].folder.read("history")
    assert [row["stage"] for row in history] == ["reconstruction"] * 2 + ["reconstruction-2"] * 2


def test_a_teachers_recipe_that_needs_a_teacher_is_refused(laboratory: Any) -> None:
    graph = laboratory.graph("teacher.recipe=kd-mri")
    with pytest.raises(
        UserError, match=r"teacher\.recipe = 'kd-mri': expected a recipe without input networks, .*teacher"
    ):
        check(graph, graph.context.experiment.arms)
