"""One process at a time writes to an output folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from filelock import FileLock

from i2ikd import UserError
from i2ikd.engine.teacher_cache import locks
from i2ikd.experiment.folder import locked


@pytest.mark.parametrize("removed", [False, True])
def test_a_second_writer_is_refused_also_without_the_lock_file(removed: bool, tmp_path: Path) -> None:
    with locked(tmp_path):
        if removed:
            (tmp_path / ".lock").unlink()
        with pytest.raises(UserError, match="another i2ikd works in"), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(lock: FileLock, timeout: float) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("i2ikd.experiment.folder.FileLock.acquire", acquire)
    with pytest.raises(UserError, match=r"cannot be locked \(No locks available\)"), locked(tmp_path):
        pass


def test_a_file_system_that_locks_no_folders_has_the_lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> bool:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(locks, "try_exclusive", refuse)
    with locked(tmp_path), pytest.raises(UserError, match="another i2ikd works in"), locked(tmp_path):
        pass
