"""A store that was touched: no number changes in silence, what can be derived is made anew, weights are refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from i2ikd.engine import checkpoint
from i2ikd.engine.build import load_weights
from i2ikd.experiment.verify import verify


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x10
    file.write_bytes(bytes(data))


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def zero(file: Path) -> None:
    file.write_bytes(b"\0" * file.stat().st_size)


DAMAGE: dict[str, Callable[[Path], None]] = {"flipped": flip, "cut off": truncate, "zeroed": zero, "gone": Path.unlink}


class TestARunsFiles:
    @pytest.mark.parametrize("damage", DAMAGE)
    def test_what_can_be_derived_is_made_anew_and_reported(self, damage: str, comparison: Any) -> None:
        before, kd = comparison.numbers, comparison.run("students/kd-mri/seed0")
        record = (kd / "run.json").read_text()
        lines = {
            "teacher/seed0: scored again from its weights (": comparison.run("teacher/seed0") / "evaluation.json",
            "students/student/seed0: scored again from its weights (": comparison.run("students/student/seed0")
            / "records.csv",
            "students/control/seed0  (manifest.json is missing, damaged or without": comparison.run(
                "students/control/seed0"
            )
            / "manifest.json",
            "students/kd-mri/seed0  (run.json is damaged and is written anew": kd / "run.json",
        }
        for file in lines.values():
            DAMAGE[damage](file)
        result = comparison.again()
        assert result.code == 0, result.err
        assert comparison.numbers == before
        assert [line in result.out for line in lines] == [True] * 4, result.out
        assert (kd / "run.json").read_text() == record
        assert comparison.command("verify", comparison.out).code == 0, "all is repaired"

    @pytest.mark.parametrize("damage", ["flipped", "cut off", "zeroed"])
    def test_damaged_weights_are_refused(self, damage: str, comparison: Any) -> None:
        run = "students/student/seed0"
        file = comparison.run(run) / "weights.pt"
        DAMAGE[damage](file)
        before = comparison.numbers
        message = comparison.again().refusal
        assert message.startswith(f"{run}: {file} is damaged: ") and "to train the run again" in message
        assert comparison.numbers == before
        assert "weights.pt is" in comparison.command("evaluate", comparison.out / run).refusal
        damaged = comparison.command("verify", comparison.out)
        assert str(file.relative_to(comparison.out)) in damaged.out and "1 file" in damaged.refusal

    def test_missing_weights_are_trained_again_to_the_same_numbers(self, comparison: Any) -> None:
        before = comparison.numbers
        (comparison.run("students/student/seed0") / "weights.pt").unlink()
        assert "weights.pt" in comparison.command("verify", comparison.out).out
        result = comparison.again()
        assert "train  students/student/seed0  (its manifest states weights, and they are missing)" in result.out
        assert comparison.numbers == before

    def test_a_damaged_history_leaves_the_numbers_and_is_reported(self, comparison: Any) -> None:
        before = comparison.numbers
        flip(comparison.run("teacher/seed0") / "history.json")
        result = comparison.again()
        assert "reuse  teacher/seed0  (history.json is damaged and is left out of figures" in result.out
        assert comparison.numbers == before

    def test_an_edited_score_is_made_anew(self, comparison: Any) -> None:
        file = comparison.run("students/kd-mri/seed0") / "records.csv"
        before, lines = comparison.numbers, file.read_text().splitlines()
        other = "8" if lines[-1].endswith("7") else "7"
        for edited in (lines[:-1], [*lines[:-1], lines[-1][:-1] + other]):
            file.write_text("\n".join(edited) + "\n")
            assert "students/kd-mri/seed0: scored again from its weights (" in comparison.again().out
            assert comparison.numbers == before


class TestExchangedFiles:
    NAMES = ("students/student/seed0", "students/kd-mri/seed0")

    def exchange(self, left: Path, right: Path) -> None:
        aside = left.with_name("aside")
        left.rename(aside)
        right.rename(left)
        aside.rename(right)

    def test_two_runs_are_noticed(self, comparison: Any) -> None:
        left, right = (comparison.run(name) for name in self.NAMES)
        self.exchange(left, right)
        assert f"expected the run {left.name}, got the run {right.name}" in comparison.again().refusal
        assert "expected the run" in comparison.command("evaluate", comparison.out / self.NAMES[0]).refusal
        assert comparison.command("verify", comparison.out).code == 2

    def test_two_weights_are_noticed(self, comparison: Any) -> None:
        left, right = (comparison.run(name) / "weights.pt" for name in self.NAMES)
        self.exchange(left, right)
        assert "weights.pt is damaged: its SHA-256 is not that of its manifest" in comparison.again().refusal

    def test_two_weights_with_their_manifests_are_noticed(self, comparison: Any) -> None:
        left, right = (comparison.run(name) for name in self.NAMES)
        for name in ("weights.pt", "manifest.json"):
            self.exchange(left / name, right / name)
        assert f"expected the run {left.name}, got the run {right.name}" in comparison.again().refusal

    def test_two_scores_are_made_anew(self, comparison: Any) -> None:
        before = comparison.numbers
        left, right = (comparison.run(name) for name in self.NAMES)
        for name in ("records.csv", "evaluation.json"):
            self.exchange(left / name, right / name)
        result = comparison.again()
        assert result.out.count("scored again from its weights (changed: networks.0") == 2
        assert comparison.numbers == before

    def test_two_names_are_noticed(self, comparison: Any) -> None:
        left, right = (comparison.out / name for name in self.NAMES)
        self.exchange(left, right)
        assert "expected the run" in comparison.command("evaluate", left).refusal
        assert comparison.again().code == 0
        assert comparison.command("evaluate", left).code == 0, "compare puts the names back"


class TestResults:
    @pytest.mark.parametrize("name", ["results.json", "records.csv", "experiment.json", "manifest.json"])
    def test_are_refused_by_report_and_made_anew_by_compare(self, name: str, comparison: Any) -> None:
        before = comparison.numbers
        flip(comparison.out / name)
        message = comparison.command("report", comparison.out).refusal
        assert name in message
        result = comparison.again()
        assert result.code == 0, result.err
        assert ("and is written anew" in result.out) == (name in ("experiment.json", "manifest.json"))
        assert comparison.numbers == before
        assert comparison.command("report", comparison.out).code == 0

    def test_edited_by_hand_are_refused(self, comparison: Any) -> None:
        file = comparison.out / "results.json"
        document = json.loads(file.read_text())
        document["rows"][1]["psnr"]["mean"] += 1
        file.write_text(json.dumps(document))
        assert f"{file} is damaged: " in comparison.command("report", comparison.out).refusal


class TestVerify:
    def test_lists_what_is_damaged(self, comparison: Any) -> None:
        assert comparison.command("verify", comparison.out).code == 0
        run = comparison.run("teacher/seed0")
        flip(run / "weights.pt")
        flip(run / "records.csv")
        result = comparison.command("verify", comparison.out, "--json")
        found = {Path(row["file"]).name: row["problem"] for row in json.loads(result.out)["problems"]}
        assert found == {
            "weights.pt": "its SHA-256 is not that of its manifest",
            "records.csv": "its SHA-256 is not that of its manifest",
        }
        assert "2 files" in result.refusal

    def test_of_one_run(self, comparison: Any) -> None:
        assert comparison.command("verify", comparison.out / "teacher/seed0").code == 0
        flip(comparison.run("teacher/seed0") / "history.json")
        assert "history.json" in comparison.command("verify", comparison.out / "teacher/seed0").out

    def test_of_a_folder_that_is_no_store_is_refused(self, tmp_path: Path, i2ikd: Any) -> None:
        (tmp_path / "notes.txt").write_text("x")
        assert "expected the folder of a comparison or of a run" in i2ikd("verify", tmp_path).refusal

    def test_finds_a_damaged_cache_entry(self, comparison: Any) -> None:
        rows, *_ = (comparison.out / "cache").glob("*/rows.npy")
        array = np.load(rows, mmap_mode="r+")
        array[0] = 0
        array.flush()
        assert "cache" in comparison.command("verify", comparison.out).out

    def test_notices_a_change_of_a_file_of_any_kind(self, comparison: Any) -> None:
        """One file of each kind in the store and of the results, changed, cut off, zeroed and removed in turn."""
        files = [path for path in sorted(comparison.out.rglob("*")) if path.is_file() and path.name != ".lock"]
        files = [path for path in files if not any(parent.is_symlink() for parent in path.parents)]
        one_of_each = {}
        for path in files:
            owner = path.parent.name
            one_of_each[owner.partition("-")[0] if "-" in owner else path.parts[-3], path.name] = path
        files = list(one_of_each.values())
        assert len(files) > 15
        unnoticed = []
        for file in files:
            content = file.read_bytes()
            for name, damage in DAMAGE.items():
                damage(file)
                found = verify(comparison.out)
                if not found.problems and not (file == comparison.out / "manifest.json" and found.unstated):
                    unnoticed.append((file.relative_to(comparison.out), name))
                file.write_bytes(content)
        assert not unnoticed
        assert not verify(comparison.out).problems


class TestCopies:
    def test_a_read_only_folder_works(self, comparison: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: Path, mode: str = "r", **options: Any) -> Any:
            if set(mode) & set("wxa+"):
                raise OSError(errno.EROFS, "Read-only file system", str(path))
            return opened(path, mode, **options)

        opened = Path.open
        monkeypatch.setattr(Path, "open", refuse)
        result = comparison.command("report", comparison.out)
        assert (
            result.code == 0 and "kd-mri" in result.out and "is not written, as the folder is read-only" in result.out
        )
        assert comparison.command("verify", comparison.out).code == 0
        assert comparison.command("evaluate", comparison.out / "students/kd-mri/seed0").code == 0

    def test_a_copy_without_links_works(self, comparison: Any, tmp_path: Path) -> None:
        before, copy = comparison.numbers, tmp_path / "copy"
        shutil.copytree(comparison.out, copy)
        shutil.rmtree(comparison.out)
        assert not (copy / "students/kd-mri/seed0").is_symlink()
        for command in ("report", "verify"):
            assert comparison.command(command, copy).code == 0
        assert comparison.command("evaluate", copy / "students/kd-mri/seed0").code == 0
        result = comparison.command("compare", comparison.file, "--out", copy)
        assert result.code == 0 and "train  " not in result.out and "again" not in result.out
        assert (json.loads((copy / "results.json").read_text()), (copy / "records.csv").read_text()) == before
        changed = comparison.command(
            "compare", comparison.file, "--out", copy, "--arms", "student", "-o", "student.depth=2"
        )
        assert changed.code == 0
        assert (copy / "students/student/seed0").is_symlink() and (copy / "students/student/seed0.before").is_dir()

    def test_a_moved_folder_works(self, comparison: Any, tmp_path: Path) -> None:
        before = comparison.numbers
        comparison.out.rename(tmp_path / "moved")
        result = comparison.command("compare", comparison.file, "--out", tmp_path / "moved")
        assert "scored again" not in result.out
        assert json.loads((tmp_path / "moved" / "results.json").read_text()) == before[0]


class TestLinks:
    def test_the_target_of_a_linked_lock_is_left_alone(self, comparison: Any, tmp_path: Path) -> None:
        target = tmp_path / "thesis.tex"
        target.write_text("chapter 1")
        for lock, refuses in ((comparison.out / ".lock", True), (comparison.out / "cache" / ".lock", False)):
            lock.unlink(missing_ok=True)
            lock.symlink_to(target)
            result = comparison.again("-o", "student.depth=2")
            assert ("is a symbolic link, and nothing is written through it" in result.err) == refuses
            assert target.read_text() == "chapter 1"
            lock.unlink()

    @pytest.mark.parametrize("name", ["results.json", "records.csv", "manifest.json", "experiment.json"])
    def test_a_linked_file_is_replaced_and_its_target_left_alone(
        self, name: str, comparison: Any, tmp_path: Path
    ) -> None:
        file, target = comparison.out / name, tmp_path / "elsewhere"
        shutil.move(file, target)
        file.symlink_to(target)
        content = target.read_bytes()
        assert comparison.again("--arms", "student").code == 0
        assert target.read_bytes() == content and not file.is_symlink()

    def test_a_linked_run_is_read_and_not_written(self, comparison: Any, tmp_path: Path) -> None:
        run = comparison.run("students/kd-mri/seed0")
        shutil.move(run, tmp_path / "elsewhere")
        run.symlink_to(tmp_path / "elsewhere")
        before = comparison.numbers
        assert comparison.again().code == 0 and comparison.numbers == before
        (tmp_path / "elsewhere" / "records.csv").unlink()
        files = sorted(path.name for path in (tmp_path / "elsewhere").iterdir())
        result = comparison.again()
        assert "the scores are not stored" in result.out and comparison.numbers == before
        assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == files


class TestCheckpoints:
    def test_any_changed_byte_of_a_tensor_is_noticed(self, tmp_path: Path) -> None:
        path = tmp_path / "c.pt"
        checkpoint.save({"state": {"weight": torch.arange(300.0)}, "step": 7}, path)
        whole = path.read_bytes()
        for position in range(0, len(whole), 11):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
            try:
                found = checkpoint.load(path)
            except Exception as error:
                assert type(error).__name__ == "UserError"
                continue
            assert torch.equal(found["state"]["weight"], torch.arange(300.0)) and found["step"] == 7

    def test_weights_of_another_network_are_refused_where_shapes_fit(self, comparison: Any) -> None:
        run, out = comparison.run("students/student/seed0"), comparison.out.with_name("other")
        network = "model='dc-cnn', cascades=2, depth=3, channels=4"
        for option, code in (("residual=true", 2), ("residual=false", 0)):
            teacher = f"teacher={{{network}, weights='{run}', {option}}}"
            result = comparison.command("train", comparison.file, "--out", out, "-o", teacher)
            assert result.code == code
            assert ("holds the weights of another network (residual: false -> true)" in result.err) == (code == 2)

    def test_plain_state_dicts_are_taken(self, tmp_path: Path) -> None:
        network = torch.nn.Linear(2, 2)
        torch.save(network.state_dict(), tmp_path / "plain.pt")
        load_weights(network, tmp_path / "plain.pt", None)


def test_a_damaged_copy_of_given_weights_is_taken_again(comparison: Any) -> None:
    given, out = comparison.run("teacher/seed0"), comparison.out.with_name("other")
    command = ("train", comparison.file, "--out", out, "-o", f"teacher.weights='{given}'")
    assert comparison.command(*command).code == 0
    copy = (out / "teacher/seed0").resolve() / "weights.pt"
    before = checkpoint.load(copy)["state"]
    flip(copy)
    result = comparison.command(*command)
    assert result.code == 0 and "its copy of the given weights is damaged" in result.out
    after = checkpoint.load(copy)["state"]
    assert all(torch.equal(before[name], after[name]) for name in before)
