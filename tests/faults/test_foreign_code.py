"""Files that came with data name registered components only; what else they name is not imported."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import torch

import i2ikd as package
from i2ikd import UserError
from i2ikd.cli.main import cli

OWN = "my_network_of_a_fault_test"
"""A module that leaves a file when it is imported."""
SOURCE = """
from pathlib import Path

from i2ikd_mri_recon.network import DCCNN

Path("imported").touch()


def small(depth: int = 3) -> DCCNN:
    return DCCNN(cascades=2, depth=depth, channels=4)
"""
MODEL = f"import:{OWN}:small"
RUN = "students/student/seed0"


@pytest.fixture(autouse=True)
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The module lies in the working directory, which is on the path as soon as an import is permitted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    (tmp_path / f"{OWN}.py").write_text(SOURCE)
    yield
    sys.modules.pop(OWN, None)


def imported() -> bool:
    return Path("imported").exists() or OWN in sys.modules


def edit_weights(run: Path, **values: Any) -> None:
    """Change values of a run's weights file; the manifest goes, as who edits one file can edit two."""
    content = torch.load(run / "weights.pt", weights_only=True)
    torch.save({**content, **values}, run / "weights.pt")
    (run / "manifest.json").unlink()


def edit_experiment(out: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads((out / "experiment.json").read_text())
    change(document)
    (out / "experiment.json").write_text(json.dumps(document))
    (out / "manifest.json").unlink()


def commands(comparison: Any) -> dict[str, tuple[object, ...]]:
    """Every command that builds what files of a run name."""
    run = comparison.out / RUN
    return {
        "evaluate": ("evaluate", run),
        "infer": ("infer", run, "--input", "in.nii.gz", "--output", "out.nii.gz"),
        "export": ("export", run, "--output", "net.pt2"),
        "profile": ("profile", run, "--repeats", 1),
    }


def options_of(command: str) -> set[str]:
    """Options of a command, as its help lists them."""
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    return {option for parameter in found.params for option in parameter.opts}


class TestWeights:
    @pytest.mark.parametrize("command", ["evaluate", "infer", "export", "profile"])
    def test_that_name_an_import_are_refused(self, command: str, comparison: Any) -> None:
        Path("in.nii.gz").touch()
        edit_weights(comparison.run(RUN), model=MODEL, options={})
        arguments = commands(comparison)[command]
        message = comparison.command(*arguments).refusal
        assert MODEL in message and "stands in a file that came with the run" in message and "weights.pt" in message
        assert set(re.findall(r"--[a-z-]+", message)) == {"--trust"} <= options_of(command) and not imported()

    @pytest.mark.parametrize("target", ["os:system", "builtins:exit", "os:path", "shutil:rmtree"])
    def test_that_name_a_part_of_python_are_refused_even_with_trust(self, target: str, comparison: Any) -> None:
        edit_weights(comparison.run(RUN), model=f"import:{target}", options={"command": "touch imported"})
        for options in ((), ("--trust",)):
            message = comparison.command("evaluate", comparison.out / RUN, *options).refusal
            assert f"'import:{target}'" in message and not imported()

    def test_are_built_with_trust_and_with_an_experiment_that_names_the_import(self, comparison: Any) -> None:
        scores = comparison.command("evaluate", comparison.out / RUN, "--json").out
        edit_weights(comparison.run(RUN), model=MODEL, options={})
        own = ("--experiment", comparison.file.with_name("own.toml"))
        own[1].write_text(f'base = "tiny.toml"\n[student]\nmodel = "{MODEL}"\n')
        for options in (("--trust",), own, ("-o", f"student.model={MODEL}")):
            assert comparison.command("evaluate", comparison.out / RUN, "--json", *options).out == scores
        assert imported()
        own[1].unlink()

    def test_load_refuses_them_unless_they_are_trusted(self, comparison: Any) -> None:
        edit_weights(comparison.run(RUN), model=MODEL, options={})
        with pytest.raises(UserError, match="stands in a file that came with the run"):
            package.load(comparison.out / RUN)
        assert not imported()
        assert type(package.load(comparison.out / RUN, trust=True)).__name__ == "DCCNN"

    def test_do_not_decide_what_a_comparison_builds(self, comparison: Any) -> None:
        """The experiment is the user's, and its networks are built, whatever a file in the store states."""
        edit_weights(comparison.run("teacher/seed0"), model=MODEL, options={"depth": 4})
        before = comparison.numbers
        assert comparison.again().code == 0 and comparison.numbers == before
        assert not imported()


class TestExperiments:
    """The stored experiment came with the run: its task, metrics, masks and networks are data."""

    @pytest.mark.parametrize("command", ["evaluate", "infer", "export", "profile"])
    @pytest.mark.parametrize("kind", ["task", "mask", "dataset"])
    def test_that_name_an_import_are_refused(self, kind: str, command: str, comparison: Any) -> None:
        def change(document: dict[str, Any]) -> None:
            if kind == "task":
                document["task"]["name"] = MODEL
            else:
                document["task"][kind] = {"name": MODEL}

        edit_experiment(comparison.out, change)
        message = comparison.command(*commands(comparison)[command]).refusal
        assert MODEL in message and "stands in a file that came with the run" in message and not imported()


class TestReport:
    def test_of_an_imported_metric_imports_nothing_unless_it_is_trusted(self, comparison: Any) -> None:
        Path(f"{OWN}.py").write_text(SOURCE + "\nclass Score:\n    unit = 'XYZ'\n")
        for name in ("results.json", "records.csv"):
            file = comparison.out / name
            file.write_text(file.read_text().replace("psnr-volume-max", f"import:{OWN}:Score"))
        (comparison.out / "manifest.json").unlink()
        assert comparison.command("report", comparison.out).code == 0
        assert not imported()
        assert "that makes a i2ikd.metric.Metric" in comparison.command("report", comparison.out, "--trust").refusal
        assert imported()


class TestAnExperimentOfOnesOwn:
    """Its code is trusted; what cannot make a component is refused before it is called."""

    @pytest.mark.parametrize("target", ["os:system", "builtins:exit", "os:path"])
    @pytest.mark.parametrize("setting", ["student={{model='{0}'}}", "task.mask={{name='{0}'}}", "teacher.recipe='{0}'"])
    def test_is_refused_in_one_line(self, setting: str, target: str, comparison: Any) -> None:
        override = setting.format(f"import:{target}")
        message = comparison.again("-o", override).refusal
        assert f"'import:{target}', and '{target.partition(':')[0]}' is a module of Python" in message
