"""The output folder of a comparison belongs to one experiment and to one process at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from i2ikd import UserError
from i2ikd.experiment.folder import claim, locked, read_owner, refuse_foreign


def test_a_new_or_empty_folder_is_taken(laboratory: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "deep" / "new"):
        claim(out, laboratory.experiment())
        assert read_owner(out)["name"] == "tiny"
        claim(out, laboratory.experiment("training.epochs=9"))
        assert read_owner(out)["training"]["epochs"] == 9, "settings may change"


@pytest.mark.parametrize("operation", [claim, refuse_foreign])
def test_what_belongs_to_others_is_left_alone(operation: Any, laboratory: Any, tmp_path: Path) -> None:
    claim(tmp_path / "theirs", laboratory.experiment("name=other"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("chapter 1")
    (tmp_path / "file").write_text("x")
    for name, message in (
        ("theirs", "belongs to the experiment 'other', not to 'tiny'"),
        ("full", "expected a comparison or an empty folder, got other files; pass a new or empty folder"),
        ("file", "is a file; expected the path of an output folder"),
    ):
        with pytest.raises(UserError, match=message):
            operation(tmp_path / name, laboratory.experiment())
    assert read_owner(tmp_path / "theirs")["name"] == "other"
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("content", ["{", "[1, 2]", '"x"', "\udc80"])
def test_a_damaged_mark_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"experiment\.json (is not valid JSON|holds no experiment)"):
        read_owner(tmp_path)


def test_a_folder_that_cannot_be_made_is_an_error(laboratory: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for work in (lambda out: claim(out, laboratory.experiment()), lambda out: locked(out).__enter__()):
        with pytest.raises(UserError, match=r"cannot make the folder .*: Not a directory"):
            work(tmp_path / "file" / "below")


def test_two_processes_do_not_share_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from i2ikd.experiment.folder import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=r"another i2ikd works in .*out; wait for it"), locked(tmp_path / "out"):
            pass
        other.kill()
    with locked(tmp_path / "out"):
        pass  # the lock went with the process


def test_the_mark_can_be_read_back_as_an_experiment(laboratory: Any, tmp_path: Path) -> None:
    from i2ikd.config import check_experiment

    experiment = laboratory.experiment("teacher.weights=some/where.pt", "arms.kd-mri.distiller={name='attention'}")
    claim(tmp_path / "out", experiment)
    content = json.loads((tmp_path / "out" / "experiment.json").read_text())
    assert check_experiment(content, "the mark") == experiment
