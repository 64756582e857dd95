"""An objective of a plugin: its own requests, its own networks, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import i2ikd
from i2ikd import UserError
from i2ikd.callback import NullCallback
from i2ikd.engine import checkpoint
from i2ikd.engine.run import load_network, network_builder
from i2ikd.experiment.checks import check
from i2ikd.experiment.plan import plan
from i2ikd.experiment.schedule import train_arms
from i2ikd.objective import Loss, Objective, ObjectiveContext, TeacherOutputs, TeacherRequest

FIRST = "cascades.0.layers.0"


class CoTrained(Objective):
    """Trains the student and a second network of the teacher's architecture; both learn from the frozen teacher.

    Args:
        tap: module of the teacher whose mean is matched by a parameter.
        gain: of the image loss.
    """

    def __init__(self, tap: str = FIRST, gain: float = 1.0) -> None:
        super().__init__()
        self.tap, self.gain = tap, gain

    @property
    def builds(self) -> frozenset[Any]:
        return frozenset({"teacher"})

    def setup(self, context: ObjectiveContext) -> None:
        super().setup(context)
        assert context.build is not None
        self.partner = context.build("teacher")
        self.level = nn.Parameter(torch.zeros(1))
        self.register_buffer("steps", torch.zeros(()))

    def requests(self) -> Sequence[TeacherRequest]:
        def image(teacher: Any, batch: Any) -> Any:
            return {"image": teacher.image() * self.gain}

        def mean(teacher: Any, batch: Any) -> Any:
            return {"mean": teacher.taps[0].mean((1, 2, 3))}

        own = type(self)
        return [
            TeacherRequest("image", image, cacheable=True, identity=["image", self.gain], code=own),
            TeacherRequest("mean", mean, (self.tap,), cacheable=True, identity=["mean"], code=own),
        ]

    def forward(self, batch: Any, teacher: TeacherOutputs) -> Loss:
        conditions = batch.conditions
        ours = self.context.network(batch.input, **conditions)
        partners = self.partner(batch.input, **conditions)
        parts = {
            "image": F.l1_loss(ours, teacher["image"]["image"]),
            "partner": F.l1_loss(partners, batch.target) + F.l1_loss(partners, ours.detach()),
            "level": (self.level - teacher["mean"]["mean"]).square().mean() * (1 + self.steps),
        }
        return Loss(torch.stack(list(parts.values())).sum(), {name: part.detach() for name, part in parts.items()})

    def on_step_end(self) -> None:
        self.steps += 0.1

    def finish(self) -> dict[str, nn.Module]:
        return {"teacher": self.partner}


class Assisted(Objective):
    """Matches the mean image of a teacher and an assistant."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"teacher", "assistant"})

    def setup(self, context: ObjectiveContext) -> None:
        super().setup(context)
        SEEN.append(sorted(context.inputs))

    def requests(self) -> Sequence[TeacherRequest]:
        def image(network: Any, batch: Any) -> Any:
            return {"image": network.image()}

        return [
            TeacherRequest(role, image, cacheable=True, identity="image", code=type(self), network=role)
            for role in ("teacher", "assistant")
        ]

    def forward(self, batch: Any, teacher: TeacherOutputs) -> Loss:
        mean = (teacher["teacher"]["image"] + teacher["assistant"]["image"]) / 2
        loss = F.l1_loss(self.context.network(batch.input, **batch.conditions), mean)
        return Loss(loss, {"mean": loss.detach()})


SEEN: list[list[str]] = []


class Plugin:
    @i2ikd.hookimpl
    def register_objectives(self, register: Any) -> None:
        register("co-trained", CoTrained)
        register("assisted", Assisted)
        register("odd", lambda: 3)


def custom(name: str, *stages: dict[str, Any], **arm: Any) -> dict[str, Any]:
    stated = [{"name": f"s{index}", **stage} for index, stage in enumerate(stages)]
    return {"name": name, "recipe": "custom", "stages": stated, **arm}


GROWN = custom("grown", {"objective": {"name": "co-trained", "gain": 0.9}, "epochs": 3})
ASSISTED = custom("assisted", {"objective": "assisted"}, inputs={"assistant": ["grown"]})
FROM_PARTNER = custom(
    "from-partner",
    {
        "terms": [{"distiller": "target"}],
        "start": {"from": "base", "network": "teacher", "map": [["cascades.*.layers.0", "cascades.*.layers.0"]]},
        "freeze": ["cascades.*.layers.0"],
    },
    inputs={"base": ["grown"]},
)
ARMS = [GROWN, ASSISTED, FROM_PARTNER, {"name": "student"}]


def graph_of(laboratory: Any, *overrides: str, out: str = "out", arms: Any = None) -> Any:
    return laboratory.graph(*overrides, arms=arms or ARMS, out=out, plugins=(Plugin(),))


@pytest.mark.parametrize("arm", ["grown", "assisted"])
def test_cached_and_live_outputs_give_the_same_bits(arm: str, laboratory: Any, identical: Any) -> None:
    runs = [
        laboratory.train(graph_of(laboratory, f"training.cache_mib={limit}", out=f"cache-{limit}"), arm)
        for limit in (0, 64)
    ]
    assert runs[0].specification == runs[1].specification
    assert runs[0].folder.read("history") == runs[1].folder.read("history")
    assert identical(*map(laboratory.weights, runs))
    assert len(list((laboratory.folder / "cache-64" / "cache").glob("*/rows.npy"))) >= 2
    assert not (laboratory.folder / "cache-0" / "cache").exists()


def test_requests_that_differ_in_identity_alone_have_outputs_of_their_own(laboratory: Any) -> None:
    """Both gains in one folder: the second arm must not take the first one's images."""
    other = custom("other", {"objective": {"name": "co-trained", "gain": 0.1}, "epochs": 3})
    graph = graph_of(laboratory, arms=[GROWN, other])
    runs = [laboratory.train(graph, name) for name in ("grown", "other")]
    alone = laboratory.train(graph_of(laboratory, arms=[other], out="alone"), "other")
    histories = [run.folder.read("history") for run in (*runs, alone)]
    assert histories[1] == histories[2] != histories[0]


def test_an_interrupted_run_goes_on(laboratory: Any, stop: Any, again_and_again: Any, identical: Any) -> None:
    whole = laboratory.train(graph_of(laboratory, out="whole"), "grown")

    def work(callback: Any) -> None:
        laboratory.train(graph_of(laboratory, out="parts"), "grown", callback=callback)

    assert again_and_again(work, lambda: stop(steps=1)) == 2 * (2 + 3)
    parts = laboratory.train(graph_of(laboratory, out="parts"), "grown")
    assert parts.folder.read("history") == whole.folder.read("history")
    assert identical(laboratory.weights(parts), laboratory.weights(whole))
    left = [checkpoint.load(run.folder.left("teacher"))["state"] for run in (parts, whole)]
    assert identical(*left)


def test_its_parts_are_in_the_history(laboratory: Any) -> None:
    history = laboratory.train(graph_of(laboratory), "grown").folder.read("history")
    assert [list(row["losses"]) for row in history] == [["total", "image", "partner", "level"]] * 3
    losses = history[0]["losses"]
    assert losses["total"] == pytest.approx(losses["image"] + losses["partner"] + losses["level"], rel=1e-5)


def test_a_network_it_leaves_behind_starts_another_run(laboratory: Any, identical: Any) -> None:
    graph = graph_of(laboratory)
    run = laboratory.train(graph, "from-partner")
    (grown,) = run.inputs["base"]
    left = checkpoint.load(grown.folder.left("teacher"))["state"]
    teacher = laboratory.weights(graph.teacher_run(0))
    assert left.keys() == teacher.keys() and not identical(left, teacher)
    student = laboratory.weights(run)
    for cascade in (0, 1):
        for name in ("weight", "bias"):
            place = f"cascades.{cascade}.layers.0.convolution.{name}"
            assert torch.equal(student[place], left[place])
    assert run.specification.inputs == {"base": [grown.specification.digest]}


def test_a_network_that_was_not_left_behind_is_named(laboratory: Any) -> None:
    start = {"from": "base", "network": "ghost"}
    arm = custom("arm", {"terms": [{"distiller": "target"}], "start": start}, inputs={"base": ["student"]})
    graph = graph_of(laboratory, arms=[{"name": "student"}, arm])
    with pytest.raises(
        UserError, match=r"students/student/seed0 left no network 'ghost' behind: there is no .*ghost\.pt"
    ):
        laboratory.train(graph, "arm")


def test_the_model_that_it_builds_is_part_of_the_run(laboratory: Any) -> None:
    digests = [
        graph.arm_run(graph.context.experiment.arm(name), 0).specification.digest
        for graph in (graph_of(laboratory), graph_of(laboratory, "teacher.channels=5"))
        for name in ("student", "grown")
    ]
    assert digests[0] == digests[2], "a plain student does not depend on the teacher"
    assert digests[1] != digests[3]


def test_inputs_of_a_role_of_its_own(laboratory: Any) -> None:
    """The loss of the first epoch's only batch, from the finished networks."""
    one_step = ("training.batch=4", "training.epochs=1", "arms.grown.stages.0.epochs=1")
    graph = graph_of(laboratory, *one_step)
    run = laboratory.train(graph, "assisted")
    assert [r.name for r in run.required] == ["students/grown/seed0", "teacher/seed0"]
    found = run.folder.read("history")[0]["losses"]["mean"]
    registry = graph.context.registry
    teacher, assistant = (
        load_network(registry, graph.teacher_run(0).folder),
        load_network(registry, run.required[0].folder),
    )
    student = network_builder(registry, run.specification, "x")()
    samples = graph.context.dataset("train")
    losses = []
    for index in range(len(samples)):
        sample = samples[index]
        inputs = [sample.input[None]], {name: tensor[None] for name, tensor in sample.conditions.items()}
        with torch.no_grad():
            ours, theirs, helpers = (network(*inputs[0], **inputs[1]) for network in (student, teacher, assistant))
        losses.append(float((ours - (theirs + helpers) / 2).abs().mean()))
    assert found == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def test_a_missing_role_is_refused(laboratory: Any) -> None:
    arms = [custom("arm", {"objective": "assisted"})]
    graph = graph_of(laboratory, arms=arms)
    with pytest.raises(
        UserError, match=r"arm 'arm': the recipe 'custom' needs an input 'assistant'; set inputs\.assistant"
    ):
        check(graph, graph.context.experiment.arms)


def test_an_input_without_effect_is_refused(laboratory: Any) -> None:
    arms = [{"name": "student"}, {"name": "arm", "recipe": "imitation", "inputs": {"assistant": ["student"]}}]
    graph = graph_of(laboratory, arms=arms)
    with pytest.raises(UserError, match=r"arm 'arm': the input 'assistant' has no effect, .*; it needs teacher"):
        check(graph, graph.context.experiment.arms)


def test_a_component_that_is_no_objective_is_refused(laboratory: Any) -> None:
    graph = graph_of(laboratory, arms=[custom("arm", {"objective": "odd"})])
    with pytest.raises(UserError, match=r"the stage 's0': expected 'odd' to be an i2ikd\.Objective, got int"):
        check(graph, graph.context.experiment.arms)


class TestLockstep:
    ARMS = [  # noqa: RUF012
        GROWN,
        ASSISTED,
        {"name": "student"},
        {"name": "fit", "recipe": "joint", "distiller": "fitnet"},
        {"name": "taught", "recipe": "imitation", "teacher": "student"},
    ]

    def groups(self, graph: Any) -> list[list[str]]:
        found = plan(graph, graph.context.experiment.arms, [0], lockstep=True).groups
        return [[run.name.removesuffix("/seed0").removeprefix("students/") for run in group] for group in found]

    def test_arms_whose_roles_agree_share_a_pass(self, laboratory: Any) -> None:
        """What another arm needs is trained before; another teacher is another pass."""
        graph = graph_of(laboratory, arms=self.ARMS)
        assert self.groups(graph) == [["teacher"], ["grown"], ["student"], ["assisted", "fit"], ["taught"]]

    def test_an_arm_without_inputs_shares_any_pass(self, laboratory: Any) -> None:
        arms = [{"name": "plain", "recipe": "student", "stages": 2}, *self.ARMS]
        graph = graph_of(laboratory, arms=arms)
        assert self.groups(graph)[3:] == [["plain", "assisted", "fit"], ["taught"]]

    def test_the_numbers_are_those_of_each_alone(self, laboratory: Any, identical: Any) -> None:
        alone = graph_of(laboratory, arms=self.ARMS, out="alone")
        expected = [laboratory.train(alone, arm["name"]) for arm in self.ARMS]
        together = graph_of(laboratory, arms=self.ARMS, out="together")
        arms = together.context.experiment.arms
        found = train_arms(together, arms, 0, NullCallback(), lambda _: None, lockstep=True)
        for run, other in zip(found, expected, strict=True):
            assert run.folder.read("history") == other.folder.read("history"), run.name
            assert identical(laboratory.weights(run), laboratory.weights(other)), run.name

    def test_an_objective_has_the_roles_that_it_needs_and_no_others(self, laboratory: Any) -> None:
        SEEN.clear()
        arms = [*self.ARMS[:2], FROM_PARTNER]
        together = graph_of(laboratory, arms=arms)
        train_arms(together, together.context.experiment.arms, 0, NullCallback(), lambda _: None, lockstep=True)
        assert SEEN and all(roles == ["assistant", "teacher"] for roles in SEEN), "base is of another arm"
