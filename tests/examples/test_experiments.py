"""Every shipped experiment is valid, named like its file, contains its command, and inherits from its family's base."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import i2ikd
from i2ikd.config import Network, read_experiment
from i2ikd.experiment.budget import student_epochs, unequal_budgets
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.left_out import left_out
from i2ikd.experiment.levers import missing_levers
from i2ikd.experiment.plan import plan

FOLDER = Path(__file__).parents[2] / "examples" / "experiments"
EXPERIMENTS = sorted(FOLDER.glob("*.toml"))
ANATOMIES = ("brain", "cardiac", "knee")
FAMILIES = {
    "brain-4x": {"brain-4x-quick", "cardiac-4x", "cardiac-4x-quick", "knee-4x", "knee-4x-quick", "phantom-4x-quick",
                 "distillers-4x", "distillers-4x-quick", "distillers-on-top-4x", "ablation-brain-4x",
                 "delivery-brain-4x",
                 *(f"schemes-{anatomy}-{acceleration}x" for anatomy in ANATOMIES for acceleration in (4, 5, 8)),
                 "zoo-brain-4x", "zoo-phantom-4x",
                 *(f"{question}-phantom-4x" for question in ("levers", "shares", "sizes", "budget")),
                 "distillers-on-top-phantom-4x", "teachers-phantom-4x", "ensemble-phantom-4x", "unlabelled-phantom-4x",
                 "rates-phantom-4x", *(f"rates-{anatomy}-4x" for anatomy in ANATOMIES), "levers-brain-4x",
                 "budget-rates-phantom-4x",
                 *(f"budget-brain-4x-{epochs}" for epochs in (30, 60, 120, 240))},
    "sr-4x": {"sr-4x-quick", "sr-2x-quick", "schemes-sr-4x", "schemes-sr-2x", "int8-networks-sr-2x",
              "schemes-sr-phantom-4x", "schemes-sr-phantom-2x"},
    "multicoil-4x": {"multicoil-4x-quick"},
    "int8-networks-brain-4x": set(),
}  # fmt: skip

TRAINED_LONGER = {"teachers-phantom-4x": ["long-teacher"]}
"""Arms with more steps than the control, by experiment: teachers of other arms, trained longer on purpose."""

ARMS = ["student", "plain-teacher", "kd-mri", "imitation", "grafting", "collapsible", "control", "recommended"]
"""Of the schemes."""


def bases(path: Path) -> list[str]:
    """Names of the files that an experiment inherits from, the nearest first."""
    base = tomllib.loads(path.read_text("utf-8")).get("base")
    return [] if base is None else [Path(base).stem, *bases(path.parent / base)]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_is_valid_and_named_like_its_file(path: Path) -> None:
    experiment = read_experiment(path)
    assert experiment.name == path.stem
    assert f"i2ikd compare examples/experiments/{path.name} --out " in path.read_text()


def test_each_family_has_one_base() -> None:
    roots = {path.stem: (bases(path) or [path.stem])[-1] for path in EXPERIMENTS}
    assert roots == {name: base for base, family in FAMILIES.items() for name in {base, *family}}
    assert bases(FOLDER / "distillers-4x-quick.toml") == ["distillers-4x", "brain-4x"]
    for anatomy in ("cardiac", "knee"):
        assert bases(FOLDER / f"schemes-{anatomy}-4x.toml") == ["schemes-brain-4x", "brain-4x"]


@pytest.mark.parametrize("anatomy", ["brain", "cardiac", "knee"])
@pytest.mark.parametrize("acceleration", [4, 5, 8])
def test_the_table_of_the_paper_has_full_and_quick_experiments(anatomy: str, acceleration: int) -> None:
    overrides = [f"name={anatomy}-{acceleration}x", f"task.mask.acceleration={acceleration}"]
    paper = read_experiment(FOLDER / f"{anatomy}-4x.toml", overrides)
    quick = read_experiment(FOLDER / f"{anatomy}-4x-quick.toml", overrides)
    assert (paper.training.epochs, paper.training.batch, paper.training.lr) == (150, 4, 1e-3)
    assert (paper.training.schedule, paper.training.decay_epochs, paper.training.decay_rate) == ("step", 40, 0.1)
    assert (paper.training.precision, paper.seeds) == ("fp32", [0, 1, 2])
    assert (quick.training.epochs, quick.training.schedule, quick.training.precision) == (30, "cosine", "auto")
    assert quick.seeds == [0, 1]
    assert "size" not in paper.task.options["dataset"] and quick.task.options["dataset"]["size"] == [128, 128]
    for experiment, mode in ((paper, "code"), (quick, None)):
        assert experiment.name == f"{anatomy}-{acceleration}x"
        assert experiment.task.options["dataset"]["root"] == f"data/{anatomy}"
        mask = {"name": "variable-density", "acceleration": acceleration, "axis": 1 if anatomy == "knee" else 0}
        assert experiment.task.options["mask"] == mask
        assert [arm.name for arm in experiment.arms] == ["student", "control", "kd-mri"]
        distiller = experiment.arm("kd-mri").options["distiller"]
        assert distiller == ({"name": "attention", "mode": mode} if mode else "attention")
        assert (experiment.teacher.options["depth"], experiment.student.options["depth"]) == (5, 3)


def graph_of(name: str, folder: Path) -> RunGraph:
    """The experiment on two simulated slices a split, on this machine."""
    root = "task.dataset={name='phantom', train=1, val=1, test=1, slices=2, size=[32, 32]}"
    overrides = [root, "training.precision=fp32", "training.device=cpu"]
    experiment = read_experiment(FOLDER / f"{name}.toml", overrides)
    return RunGraph(ExperimentContext(experiment, i2ikd.default_registry(), folder))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_can_be_planned_and_no_arm_but_a_longer_teacher_has_more_steps_than_the_control(
    path: Path, tmp_path: Path, drawn_once: None
) -> None:
    graph = graph_of(path.stem, tmp_path)
    arms = graph.context.experiment.arms
    planned = plan(graph, arms, [0])
    names = {decision.run.name for decision in planned.decisions}
    assert {run.name for arm in arms for run in [graph.arm_run(arm, 0)]} <= names | {"students/control/seed0"}
    assert left_out(graph, arms) == missing_levers(graph, arms, 0) == []
    longer = TRAINED_LONGER.get(path.stem, [])
    warnings = unequal_budgets(graph, arms, 0)
    assert [name for name in longer if any(f"arm {name!r} trains" in line for line in warnings)] == longer
    assert len(warnings) == len(longer) and set(longer) <= {arm.teacher for arm in arms}


@pytest.mark.parametrize("anatomy", ANATOMIES)
@pytest.mark.parametrize("acceleration", [4, 5, 8])
def test_each_cell_of_the_grid_is_a_file_of_the_schemes(anatomy: str, acceleration: int) -> None:
    path = FOLDER / f"schemes-{anatomy}-{acceleration}x.toml"
    assert anatomy in path.read_text("utf-8").splitlines()[0]
    assert bases(path)[-2:] == (["schemes-brain-4x", "brain-4x"] if path.stem != "schemes-brain-4x" else ["brain-4x"])
    experiment = read_experiment(path)
    mask = {"name": "variable-density", "acceleration": acceleration, "axis": 1 if anatomy == "knee" else 0}
    assert experiment.task.options["mask"] == mask
    assert experiment.task.options["dataset"] == {"root": f"data/{anatomy}", "size": [128, 128]}
    assert [arm.name for arm in experiment.arms] == ARMS
    assert experiment.training.epochs == (1200 if anatomy == "knee" else 120)


@pytest.mark.parametrize("anatomy", ANATOMIES)
def test_the_schemes_are_compared_at_equal_budgets_with_two_controls(
    anatomy: str, tmp_path: Path, drawn_once: None
) -> None:
    graph = graph_of(f"schemes-{anatomy}-4x", tmp_path)
    experiment = graph.context.experiment
    epochs = {arm.name: student_epochs(graph.arm_run(arm, 0)) for arm in experiment.arms}
    assert epochs == dict.fromkeys(ARMS, experiment.training.epochs)


@pytest.mark.parametrize("images", ["sr", "sr-phantom"])
def test_the_super_resolution_schemes_graft_groups_of_layers(images: str, tmp_path: Path, drawn_once: None) -> None:
    for factor in (2, 4):
        graph = graph_of(f"schemes-{images}-{factor}x", tmp_path / str(factor))
        assert graph.context.experiment.task.options["factor"] == factor
        run = graph.arm_run(graph.context.experiment.arm("recommended"), 0)
        assert [stage.stage.name for stage in run.stages] == ["grafting", "target"]


def test_the_budgets_share_one_teacher(tmp_path: Path, drawn_once: None) -> None:
    teachers, spent = set(), []
    for epochs in (30, 60, 120, 240):
        graph = graph_of(f"budget-brain-4x-{epochs}", tmp_path / str(epochs))
        teachers.add(graph.teacher_run(0).specification.digest)
        spent += [student_epochs(graph.arm_run(arm, 0)) for arm in graph.context.experiment.arms]
    assert len(teachers) == 1
    assert spent == [epochs for epochs in (30, 60, 120, 240) for _ in range(3)]


@pytest.mark.parametrize("anatomy", ["brain", "cardiac", "knee"])
def test_each_group_of_arms_has_a_teacher_and_a_control_with_its_levers(anatomy: str) -> None:
    experiment = read_experiment(FOLDER / f"schemes-{anatomy}-4x.toml")
    assert [arm.name for arm in experiment.arms] == ARMS
    assert experiment.task.options["dataset"] == {"root": f"data/{anatomy}", "size": [128, 128]}

    def levers(network: Network) -> tuple[bool, list[str]]:
        return network.options.get("residual", False), [transform.name for transform in network.transforms]

    students = {arm.name: experiment.student_of(arm) for arm in experiment.arms}
    plain, both = (False, []), (True, ["collapsible"])
    assert levers(experiment.teacher) == both
    assert {name: levers(student) for name, student in students.items()} == {
        **dict.fromkeys(["student", "plain-teacher", "kd-mri", "imitation", "grafting"], plain),
        "collapsible": (False, ["collapsible"]),
        **dict.fromkeys(["control", "recommended"], both),
    }
    assert {arm.name: arm.teacher for arm in experiment.arms if arm.teacher} == dict.fromkeys(
        ["kd-mri", "imitation", "grafting"], "plain-teacher"
    )
    depths = {name: student.options["depth"] for name, student in students.items()}
    assert depths == {**dict.fromkeys(ARMS, 3), "plain-teacher": experiment.teacher.options["depth"]}


def test_the_simulated_heads_need_no_folder() -> None:
    dataset = read_experiment(FOLDER / "phantom-4x-quick.toml").task.options["dataset"]
    assert dataset == {"name": "phantom", "train": 16, "val": 3, "test": 6, "slices": 6, "size": [96, 96]}


def test_the_comparison_has_every_registered_distiller() -> None:
    experiment = read_experiment(FOLDER / "distillers-4x.toml")
    used = {str(arm.options.get("distiller")) for arm in experiment.arms}
    missing = [n for n in i2ikd.list_components("distiller") if n not in ("target", "imitation") and n not in str(used)]
    assert missing == []


def test_the_comparison_contains_the_papers_ablation() -> None:
    experiment = read_experiment(FOLDER / "distillers-4x.toml")
    stages = {name: experiment.arm(name) for name in ("attention", "imitation", "kd-mri")}
    assert stages["attention"].options == {"distiller": "attention", "alpha": 1.0}
    assert (stages["imitation"].recipe, stages["imitation"].options) == ("imitation", {"stages": 2})
    assert stages["kd-mri"].options == {"distiller": "attention"}
