"""Work of a comparison of many arms and seeds that is done once: counts, which do not depend on the machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from i2ikd_mri.listing import ALL_FILES, list_files

from benchmarks import many_runs
from i2ikd import options
from i2ikd.engine.output_manifest import OutputManifest
from i2ikd.experiment import checks
from i2ikd.experiment.checks import check
from i2ikd.experiment.plan import plan
from i2ikd.experiment.schedule import train_plan
from i2ikd.options import check as check_options

ARMS = [{"name": f"arm-{number}", "recipe": "imitation", "alpha": 0.1 * (number + 1)} for number in range(5)]
SMALL = "task.dataset.size=[16, 16]"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[Any]]:
    """Return a function that records the first arguments of the calls of an attribute."""

    def record(owner: Any, name: str) -> list[Any]:
        original, seen = getattr(owner, name), list[Any]()

        def spy(*arguments: Any, **options: Any) -> Any:
            seen.append(arguments[0] if arguments else None)
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, spy)
        return seen

    return record


def test_options_of_a_component_are_modelled_once(calls: Any) -> None:
    def network_of(depth: int = 3) -> int:
        return depth

    built = calls(options, "_built_model")
    assert [check_options(network_of, {"depth": depth}, "network") for depth in (1, 2)] == [{"depth": 1}, {"depth": 2}]
    assert built == [network_of]


def test_a_check_builds_the_teacher_once_for_all_arms_and_repeats_nothing(laboratory: Any, calls: Any) -> None:
    graph = laboratory.graph(SMALL, arms=ARMS)
    inputs, tried = calls(checks, "blank_input"), calls(checks, "try_network")
    check(graph, graph.context.experiment.arms)
    assert len(inputs) == 2, "as the teacher that is checked, and as the input of every arm"
    assert len(tried) == 3 + len(ARMS), "the teacher on every split, and a student for each arm"
    check(graph, graph.context.experiment.arms)
    assert (len(inputs), len(tried)) == (2, 3 + len(ARMS))


def test_an_arm_is_planned_once_for_all_seeds(laboratory: Any, calls: Any) -> None:
    graph = laboratory.graph(SMALL, arms=ARMS)
    planned = calls(graph, "_plan_arm")
    assert len(plan(graph, graph.context.experiment.arms, [0, 1, 2]).decisions) == 3 * (1 + len(ARMS))
    assert Counter(arm.name for arm in planned) == {arm["name"]: 1 for arm in ARMS}


def test_names_of_finished_runs_are_written_together(laboratory: Any, calls: Any) -> None:
    graph = laboratory.graph(SMALL, arms=ARMS)
    wanted = plan(graph, graph.context.experiment.arms, [0])
    executor = many_runs.Fabricator(many_runs._runs(wanted), graph.context.registry)
    train_plan(graph, wanted, executor, lambda _: None)
    (laboratory.folder / "out" / "manifest.json").unlink()
    written, graph = calls(OutputManifest, "_write"), laboratory.graph(SMALL, arms=ARMS)
    train_plan(graph, plan(graph, graph.context.experiment.arms, [0]), executor, lambda _: None)
    assert len(written) == 1 and len(OutputManifest(laboratory.folder / "out").read().runs) == 1 + len(ARMS)


def test_files_are_listed_without_a_look_up_each(tmp_path: Path, calls: Any) -> None:
    for number in range(20):
        (tmp_path / f"case-{number}.h5").touch()
    (tmp_path / "linked.h5").symlink_to("case-0.h5")
    stat, lstat = calls(Path, "stat"), calls(Path, "lstat")
    listing = list_files(tmp_path, [ALL_FILES], (".h5",))
    assert len(listing.files) == 21
    assert {path.name for path in (*stat, *lstat)} == {"linked.h5"}
