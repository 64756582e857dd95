"""Temporary files of processes that ended are removed, those of running ones and other files stay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from i2ikd.temporary_files import is_temporary, sweep, temporary_path

PROGRAM = "from pathlib import Path; import sys; from i2ikd.temporary_files import temporary_path\n"
PROGRAM += "temporary_path(Path(sys.argv[1])).touch()"


def ended(final: Path) -> Path:
    """Let another process leave a temporary file, and return it."""
    subprocess.run([sys.executable, "-c", PROGRAM, str(final)], check=True)
    (left,) = final.parent.glob(".*.part")
    return left


def test_files_of_ended_processes_are_removed_at_every_depth(tmp_path: Path) -> None:
    (tmp_path / "store" / "run").mkdir(parents=True)
    left = ended(tmp_path / "store" / "run" / "weights.pt")
    own, other = temporary_path(tmp_path / "a.json"), tmp_path / ".notes.part"
    own.touch()
    other.touch()
    sweep(tmp_path)
    assert not left.exists() and own.exists() and other.exists()


def test_files_of_other_hosts_and_older_versions_are_removed_after_a_day(tmp_path: Path) -> None:
    names = (".a.json.00000000-1.0123abcd.part", ".a.json.999999999.0123abcd.part")
    for name in names:
        (tmp_path / name).touch()
        assert is_temporary(name)
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    for name in names:
        os.utime(tmp_path / name, (0, 0))
    sweep(tmp_path)
    assert not list(tmp_path.iterdir())


def test_files_behind_links_stay(tmp_path: Path) -> None:
    (tmp_path / "beside").mkdir()
    (tmp_path / "out").mkdir()
    left = ended(tmp_path / "beside" / "a")
    (tmp_path / "out" / "link").symlink_to(tmp_path / "beside")
    sweep(tmp_path / "out")
    assert left.exists()
