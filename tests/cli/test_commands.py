"""Output and files of the commands."""

from __future__ import annotations

import html
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from i2ikd.config import read_experiment
from i2ikd.registry import default_registry

KINDS = list(default_registry().kinds)
PLURALS = [kind if kind == "pairs" else kind + "s" for kind in KINDS]


class TestWithoutTorch:
    def test_help_and_listings_do_not_import_torch(self) -> None:
        code = (
            "import sys; from i2ikd.cli.main import run\n"
            "for words in (['--help'], ['plugins'], ['list'], ['list', 'distillers'], ['list', 'masks'],"
            " ['list', 'models', '--json'], ['plugins', '--json'], ['compare', '--help']):\n"
            "    assert run(words) == 0, words\n"
            "    heavy = {'torch', 'timm', 'numpy', 'matplotlib', 'h5py'} & set(sys.modules)\n"
            "    heavy |= {'pydantic'} & set(sys.modules) if words != ['compare', '--help'] else set()\n"
            "    assert not heavy, (words, heavy)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""

    def test_the_installed_command_reports_an_unknown_command(self) -> None:
        command = Path(sys.executable).with_name("i2ikd")
        if not command.exists():
            pytest.skip("the command is not installed beside this Python")
        done = subprocess.run([command, "lsit"], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "i2ikd: error: unknown command 'lsit'; did you mean 'list'?\n"


class TestHelp:
    def test_lists_every_command_with_its_summary(self, i2ikd: Any) -> None:
        for arguments in (["--help"], ["-h"], []):
            answer = i2ikd(*arguments)
            assert (answer.code, answer.err) == (0, "")
            for component in default_registry().components("command"):
                assert component.name in answer.out and component.summary.split()[0] in answer.out

    @pytest.mark.parametrize("name", [component.name for component in default_registry().components("command")])
    def test_every_command_has_a_help_text(self, name: str, i2ikd: Any) -> None:
        answer = i2ikd(name, "--help")
        assert answer.code == 0 and "Usage: i2ikd " in answer.out and "--help" in answer.out

    def test_the_version_is_printed(self, i2ikd: Any) -> None:
        from importlib.metadata import version

        assert version("i2ikd") in i2ikd("--version").out


class TestList:
    @pytest.mark.parametrize("word", [*PLURALS, "model", "distiller"])
    def test_every_kind_is_listed(self, word: str, i2ikd: Any) -> None:
        kind = word if word in KINDS else word.removesuffix("s")
        names = [component.name for component in default_registry().components(kind)]
        answer = i2ikd("list", word)
        assert (answer.code, answer.err) == (0, "")
        assert all(name in answer.out for name in names)
        rows = json.loads(i2ikd("list", word, "--json").out)
        assert [row["name"] for row in rows] == names
        assert all(row.keys() >= {"name", "plugin", "summary"} and row["summary"] for row in rows)

    def test_without_a_kind_the_components_of_each_kind_are_counted(self, i2ikd: Any) -> None:
        counts = json.loads(i2ikd("list", "--json").out)
        assert list(counts) == KINDS and counts["task"] >= 1
        assert all(plural in i2ikd("list").out for plural in PLURALS)


class TestPlugins:
    def test_plugins_are_listed_with_their_components(self, i2ikd: Any) -> None:
        answer = i2ikd("plugins")
        assert answer.code == 0 and "mri-recon" in answer.out and "attention" in answer.out
        rows = {row["name"]: row for row in json.loads(i2ikd("plugins", "--json").out)}
        assert rows["builtin"]["problem"] is None and rows["builtin"]["distribution"] == "i2ikd"
        assert {"kind": "recipe", "name": "kd-mri"} in rows["builtin"]["provides"]


class TestShow:
    def test_a_distiller_is_shown_with_formula_and_options(self, i2ikd: Any) -> None:
        answer = i2ikd("show", "distiller", "attention")
        assert (answer.code, answer.err) == (0, "")
        assert "formula: q(F) = n(vec(mean_c F^2))" in answer.out
        assert "mode: Literal['squared', 'paper', 'code'] = 'squared'" in answer.out
        assert "arXiv:1612.03928" in answer.out
        row = json.loads(i2ikd("show", "distillers", "attention", "--json").out)
        assert row.keys() >= {"name", "plugin", "summary", "formula", "options", "text"}
        assert row["options"][0]["default"] == "'squared'"

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_component_can_be_shown(self, kind: str, i2ikd: Any) -> None:
        for component in default_registry().components(kind):
            answer = i2ikd("show", kind, component.name)
            assert answer.code == 0, (component.name, answer.err)
            assert answer.out.startswith(f"{kind} {component.name}  ({component.plugin.label})")
            assert json.loads(i2ikd("show", kind, component.name, "--json").out)["name"] == component.name

    def test_the_taps_of_a_model_are_listed(self, i2ikd: Any) -> None:
        lines = i2ikd("show", "model", "dc-cnn", "--taps").out.splitlines()
        assert any(line.split() == ["cascades.4.layers.2.convolution", "Conv2d"] for line in lines)
        small = i2ikd("show", "model", "dc-cnn", "--taps", "-o", "cascades=1", "-o", "depth=2").out.splitlines()
        assert [line.split()[0] for line in small if line.count(".") == 3] == [
            "cascades.0.layers.0",
            "cascades.0.layers.1",
        ]
        called = ("-o", "call=['kspace']", "-o", "output=1")
        assert i2ikd("show", "model", "dc-cnn", "--taps", *called).out.splitlines() == lines
        assert "-o cascades=1: expected --taps" in i2ikd("show", "model", "dc-cnn", "-o", "cascades=1").error
        assert "--taps: expected a model, got recipe 'kd-mri'" in i2ikd("show", "recipe", "kd-mri", "--taps").error


class TestInit:
    def test_the_written_file_is_a_commented_experiment(self, i2ikd: Any, tmp_path: Path) -> None:
        answer = i2ikd("init", tmp_path / "mine.toml")
        assert answer.code == 0 and "mine.toml" in answer.out
        experiment = read_experiment(tmp_path / "mine.toml")
        assert {arm.name for arm in experiment.arms} == {"student", "control", "recommended"}
        assert "#" in (tmp_path / "mine.toml").read_text(), "the file has comments"

    def test_an_existing_file_is_overwritten_only_with_force(self, i2ikd: Any, tmp_path: Path) -> None:
        (tmp_path / "mine.toml").write_text("mine")
        assert "mine.toml exists already; overwrite it with --force" in i2ikd("init", tmp_path / "mine.toml").error
        assert (tmp_path / "mine.toml").read_text() == "mine"
        assert i2ikd("init", tmp_path / "mine.toml", "--force").code == 0
        read_experiment(tmp_path / "mine.toml")

    @pytest.mark.parametrize(
        "task",
        [
            c.name
            for c in default_registry().components("task")
            if "template" in c.metadata and c.name != "pairs"  # of files alone: tests/i2ikd_pairs/test_compare.py
        ],
    )
    def test_every_template_passes_the_check_on_simulated_data(self, task: str, i2ikd: Any, tmp_path: Path) -> None:
        from i2ikd.experiment.budget import unequal_budgets
        from i2ikd.experiment.checks import check
        from i2ikd.experiment.context import ExperimentContext
        from i2ikd.experiment.graph import RunGraph
        from i2ikd.experiment.left_out import left_out
        from i2ikd.experiment.levers import missing_levers

        assert i2ikd("init", tmp_path / "mine.toml", "--task", task).code == 0
        coils = 3 if task == "mri-multicoil" else 1
        phantom = f'task.dataset={{name="phantom", train=1, val=1, test=1, slices=2, size=[32, 32], coils={coils}}}'
        experiment = read_experiment(tmp_path / "mine.toml", [phantom, "student.channels=2", "teacher.channels=2"])
        graph = RunGraph(ExperimentContext(experiment, default_registry(), tmp_path / "out"))
        check(graph, experiment.arms)
        warnings = unequal_budgets(graph, experiment.arms, 0) + missing_levers(graph, experiment.arms, 0)
        assert [*warnings, *left_out(graph, experiment.arms)] == []


class TestTraining:
    """Commands that train and evaluate, on one output folder."""

    def test_train_distill_compare_and_evaluate_share_a_folder(
        self, i2ikd: Any, tiny_file: Path, tmp_path: Path, optimiser_steps: Any
    ) -> None:
        out = tmp_path / "out"
        (teacher,) = json.loads(i2ikd("train", tiny_file, "--out", out, "--json").out)
        assert teacher["name"] == "teacher/seed0" and Path(teacher["weights"]).is_file()
        assert optimiser_steps.count == 4
        answer = i2ikd("distill", tiny_file, "--out", out, "--json")
        (student,) = json.loads(answer.out)
        assert student["name"] == "students/kd-mri/seed0" and (Path(student["folder"]) / "weights.pt").is_file()
        assert "reuse  teacher/seed0" in answer.err and optimiser_steps.count == 12
        tracker = f"trackers=[{{name='json-lines', path='{tmp_path / 'log'}'}}]"
        answer = i2ikd("compare", tiny_file, "--out", out, "--json", "-o", tracker, "--processes", "auto")
        assert "training in 1 process of 1 thread (1 core)" in answer.err
        self.compares(answer, out)
        table = json.loads((tmp_path / "log").read_text().splitlines()[-1])["table"]
        assert [row["arm"] for row in table] == ["zero-filled", "teacher", "student", "control", "kd-mri"]
        self.concludes(i2ikd, tiny_file, out)
        assert optimiser_steps.count == 24
        self.evaluates(i2ikd, out, tmp_path)

    def compares(self, answer: Any, out: Path) -> None:
        assert answer.code == 0
        result = json.loads(answer.out)
        assert result == json.loads((out / "results.json").read_text())
        assert [row["arm"] for row in result["rows"]][-3:] == ["student", "control", "kd-mri"]
        assert "Traceback" not in answer.err and "reuse  students/kd-mri/seed0" in answer.err
        assert (out / "report" / "index.html").is_file()

    def concludes(self, i2ikd: Any, tiny_file: Path, out: Path) -> None:
        lines = [entry["text"] for entry in json.loads((out / "results.json").read_text())["conclusions"]]
        assert lines[0].startswith("verdict: ") and lines[-1].startswith("next: ") and len(lines) == 5
        assert "teacher" in lines[1] and "kd-mri" in lines[2] and "one seed" in lines[3]
        page = (out / "report" / "index.html").read_text("utf-8")
        table = (out / "report" / "table.md").read_text("utf-8")
        assert all(html.escape(line, quote=False) in page for line in lines) and "**Conclusions**" in table
        for answer in (i2ikd("compare", tiny_file, "--out", out), i2ikd("report", out)):
            words = " ".join(answer.out.split())
            assert answer.code == 0 and all(line in words for line in lines)
            assert words.index("bold: best mean") < words.index(lines[0])

    def evaluates(self, i2ikd: Any, out: Path, tmp_path: Path) -> None:
        run, records = out / "students" / "kd-mri" / "seed0", tmp_path / "records.csv"
        rows = {r["arm"]: r for r in json.loads(i2ikd("evaluate", run, "--records", records, "--json").out)}
        table = {row["arm"]: row for row in json.loads((out / "results.json").read_text())["rows"]}
        assert rows.keys() == {"zero-filled", "network"}
        assert rows["network"]["psnr"]["mean"] == pytest.approx(table["kd-mri"]["psnr"]["mean"], abs=1e-6)
        assert len(records.read_text().splitlines()) == 1 + 2 * 4
        assert (
            "records.csv exists already; choose another file for --records"
            in i2ikd("evaluate", run, "--records", records).error
        )
        val = json.loads(i2ikd("evaluate", run, "--split", "val", "--json").out)
        assert val[1]["psnr"]["mean"] != rows["network"]["psnr"]["mean"]
        other = ("-o", "task.mask.acceleration=2")
        assert (
            json.loads(i2ikd("evaluate", run, "--json", *other).out)[0]["psnr"]["mean"]
            > rows["zero-filled"]["psnr"]["mean"]
        )
        shown = i2ikd("evaluate", run)
        assert shown.code == 0 and "zero-filled" in shown.out and "test split" in shown.out

    @pytest.mark.usefixtures("without_report")
    def test_a_folder_without_a_run_is_refused(self, i2ikd: Any, tiny_file: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert i2ikd("train", tiny_file, "--out", out).code == 0
        assert "is no finished run: it has no weights.pt" in i2ikd("evaluate", out / "store").error
        (tmp_path / "alone").mkdir()
        line = i2ikd("evaluate", tmp_path / "alone").error
        assert "is not inside a comparison's folder, so its task is unknown; pass a run below the --out folder" in line

    @pytest.mark.usefixtures("without_report")
    def test_further_seeds_are_added(self, i2ikd: Any, tiny_file: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        command = (
            "compare",
            tiny_file,
            "--out",
            out,
            "--arms",
            "student",
            "-o",
            "seeds=[1]",
            "-o",
            "training.epochs=1",
        )
        assert i2ikd(*command, "--seeds", "3").code == 0
        assert {p.name for p in (out / "students" / "student").iterdir()} == {"seed1", "seed0", "seed2"}

    @pytest.mark.usefixtures("without_report")
    def test_overrides_are_applied_in_order(self, i2ikd: Any, tiny_file: Path, tmp_path: Path) -> None:
        changes = ("-o", "training.epochs=7", "-o", "training.epochs=1", "-o", "arms.student.student.depth=2")
        assert i2ikd("distill", tiny_file, "--out", tmp_path / "out", "--arm", "student", *changes).code == 0
        run = json.loads((tmp_path / "out" / "students" / "student" / "seed0" / "run.json").read_text())
        assert run["specification"]["stages"][0]["training"]["epochs"] == 1
        assert run["specification"]["options"]["depth"] == 2

    def test_lines_are_not_wrapped_outside_a_terminal(self, i2ikd: Any, tiny_file: Path, tmp_path: Path) -> None:
        command = ("train", tiny_file, "--out", tmp_path / ("x" * 90))
        lines = i2ikd(*command).out.splitlines()
        assert lines[-1] == f"teacher/seed0: {tmp_path / ('x' * 90)}/teacher/seed0"
        lines = i2ikd(
            *command, "-o", "training.epochs=3", "-o", "training.lr=0.5", "-o", "training.batch=1"
        ).out.splitlines()
        (reason,) = [line for line in lines if "changed: " in line]
        assert "1 -> 3" not in reason
        assert reason.endswith(")") and "stages.0.training." in reason


class TestInterruption:
    def test_ctrl_c_saves_a_checkpoint_and_prints_the_command_that_continues(
        self, i2ikd: Any, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimiser_steps: Any
    ) -> None:
        from i2ikd.progress import Display

        stepped, out = Display.on_step_end, tmp_path / "a folder"
        before = signal.getsignal(signal.SIGINT)

        def interrupt(display: Display) -> None:
            stepped(display)
            if optimiser_steps.count == 7:
                os.kill(os.getpid(), signal.SIGINT)

        words = ["distill", str(tiny_file), "--out", str(out)]
        with monkeypatch.context() as patch:
            patch.setattr(Display, "on_step_end", interrupt)
            patch.setattr(sys, "argv", ["/bin/i2ikd", *words])
            answer = i2ikd(*words)
        assert answer.code == 130
        assert answer.err == (
            f"i2ikd: stopped; a checkpoint was saved. Continue with: i2ikd distill {tiny_file} --out '{out}'\n"
        )
        assert signal.getsignal(signal.SIGINT) is before
        again = i2ikd(*words)
        assert again.code == 0 and "go on  students/kd-mri/seed0  (it was interrupted)" in again.out
        assert optimiser_steps.count == 12, "no step is repeated"

    def test_ctrl_c_before_training_ends_the_command(
        self, i2ikd: Any, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("i2ikd.experiment.checks.check", interrupt)
        answer = i2ikd("train", tiny_file, "--out", tmp_path / "out")
        assert (answer.code, answer.err.strip()) == (130, "i2ikd: stopped")
