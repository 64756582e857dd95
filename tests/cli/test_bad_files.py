"""Foreign output folders, invalid weights and full disks: existing files are unchanged."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from i2ikd.engine import checkpoint, loop


def tree(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files below a folder by relative path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class TestOutputFolder:
    def test_of_another_experiment_is_refused(self, refused: Any, i2ikd: Any, tiny_file: Path, tmp_path: Path) -> None:
        out = tmp_path / "other"
        assert i2ikd("train", tiny_file, "--out", out, "-o", "name='other'").code == 0
        before = tree(out)
        assert "belongs to the experiment 'other', not to 'tiny'; pass another output folder" in refused(out=out)
        assert tree(out) == before

    def test_with_unrelated_files_is_refused(self, refused: Any, tmp_path: Path) -> None:
        out = tmp_path / "full"
        (out / "sub").mkdir(parents=True)
        (out / "sub" / "thesis.tex").write_text("chapter 1")
        assert "expected a comparison or an empty folder, got other files; pass a new or empty folder" in refused(
            out=out
        )
        assert tree(out) == {"sub/thesis.tex": b"chapter 1"}

    def test_that_is_a_file_is_refused(self, refused: Any, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        assert "file is a file; expected the path of an output folder" in refused(out=tmp_path / "file")
        assert "cannot make the folder" in refused(out=tmp_path / "file" / "below")
        assert (tmp_path / "file").read_text() == "mine"

    def test_is_unchanged_after_an_invalid_setting(
        self, refused: Any, i2ikd: Any, tiny_file: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "done"
        assert i2ikd("train", tiny_file, "--out", out).code == 0
        before = tree(out)
        assert "did you mean 'mode'?" in refused("arms.kd-mri.distiller={name='attention', mod='code'}", out=out)
        assert "matches no module" in refused('pairs=[["x", "y"]]', out=out)
        assert tree(out) == before


class TestCheckpoints:
    """Weights that are unreadable, unsafe, or of another network."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "given").mkdir()
        return tmp_path / "given"

    def test_of_random_bytes_are_refused(self, refused: Any, folder: Path) -> None:
        (folder / "weights.pt").write_bytes(os.urandom(5000))
        for path in (folder, folder / "weights.pt"):
            assert "weights.pt is no checkpoint that can be read safely" in refused(f"teacher.weights='{path}'")

    def test_with_pickled_code_are_refused_without_executing_it(self, refused: Any, folder: Path) -> None:
        marker = folder / "executed"

        class Malice:
            def __reduce__(self) -> Any:
                return os.mkdir, (str(marker),)

        (folder / "a.pt").write_bytes(pickle.dumps({"format": 1, "state": Malice()}))
        torch.save({"format": 1, "state": Malice()}, folder / "b.pt")
        for name in ("a.pt", "b.pt"):
            assert "is no checkpoint that can be read safely" in refused(f"teacher.weights='{folder / name}'")
        assert not marker.exists()

    def test_of_another_network_are_refused(self, refused: Any, folder: Path) -> None:
        torch.save(torch.nn.Linear(3, 2).state_dict(), folder / "linear.pt")
        line = refused(f"teacher.weights='{folder / 'linear.pt'}'")
        assert "holds another network's weights: it lacks cascades.0" in line and "it has bias, weight besides" in line

    def test_damaged_weights_of_a_finished_run_are_refused(self, i2ikd: Any, tiny_file: Path, tmp_path: Path) -> None:
        assert i2ikd("train", tiny_file, "--out", tmp_path / "out").code == 0
        run = (tmp_path / "out" / "teacher" / "seed0").resolve()
        (run / "weights.pt").write_bytes(b"garbage")
        before = tree(tmp_path / "out")
        line = i2ikd("distill", tiny_file, "--out", tmp_path / "out", "--arm", "kd-mri").error
        assert "weights.pt is damaged: expected" in line and "bytes, got 7" in line
        assert tree(tmp_path / "out")[f"store/{run.name}/weights.pt"] == before[f"store/{run.name}/weights.pt"]


@pytest.mark.usefixtures("without_report")
class TestFullDisk:
    @pytest.fixture
    def finished(self, i2ikd: Any, tiny_file: Path, tmp_path: Path) -> Path:
        assert i2ikd("compare", tiny_file, "--out", tmp_path / "out", "--arms", "student").code == 0
        return tmp_path / "out"

    @pytest.mark.parametrize("operation", ["fsync", "replace"])
    def test_leaves_existing_files_unchanged(
        self, operation: str, finished: Path, i2ikd: Any, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = tree(finished)

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os if operation == "fsync" else Path, operation, full)
            answer = i2ikd("compare", tiny_file, "--out", finished, "--arms", "student", "-o", "training.epochs=3")
        assert "No space left on device" in answer.error
        assert {name: content for name, content in tree(finished).items() if name in before} == before
        assert not [name for name in tree(finished) if name.endswith(".part")]
        assert i2ikd("compare", tiny_file, "--out", finished, "--arms", "student", "-o", "training.epochs=3").code == 0

    def test_during_training_leaves_the_previous_checkpoint(
        self, i2ikd: Any, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        saves = 0
        flush = os.fsync

        def counted(descriptor: int) -> None:
            nonlocal saves
            saves += 1
            if saves > 9:
                raise OSError(errno.ENOSPC, "No space left on device")
            flush(descriptor)

        command = ("train", tiny_file, "--out", tmp_path / "out", "-o", "training.epochs=9")
        with monkeypatch.context() as patch:
            patch.setattr(loop._Saver, "save_if_due", loop._Saver.save)
            patch.setattr(os, "fsync", counted)
            line = i2ikd(*command).error
        assert "checkpoint.pt: No space left on device" in line
        (saved,) = (tmp_path / "out" / "store").glob("*/checkpoint.pt")
        assert checkpoint.load(saved)["trainer"]["epoch"] > 0
        done = i2ikd(*command)
        assert done.code == 0 and "go on  teacher/seed0  (it was interrupted)" in done.out
