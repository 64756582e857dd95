"""Atomic writes: state of the folder after success and failure; JSON files."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from i2ikd.errors import UserError
from i2ikd.files import read_json, replacing, write_atomically, write_json


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Limit the file size by the operating system, to simulate a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("content", ["π\r\nline\n", b"\x00\xff\n"])
def test_content_is_written_unchanged(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a"
    write_atomically(path, "older and longer than the new content")
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_error_leaves_the_old_file_only(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_atomically(path, "old")
    with files_of_at_most(1000), pytest.raises(UserError, match=r"cannot write .*results\.json: File too large"):
        write_atomically(path, b"x" * 5000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_while_flushing_leaves_the_old_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "a"
    write_atomically(path, "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_inside_the_block_leaves_the_old_file_only(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomically(path, "old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as stream:
        stream.write(b"half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_visible_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomically(path, "old")
    with replacing(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_missing_folder_and_a_folder_as_target_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write .*gone/a: No such file or directory"):
        write_atomically(tmp_path / "gone" / "a", "x")
    with pytest.raises(UserError, match="expected a regular file, got a folder"):
        write_atomically(tmp_path, "x")


def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UserError, match="expected a regular file, got a device or pipe"):
        write_atomically(pipe, "x")
    assert pipe.is_fifo()


def test_a_symbolic_link_is_followed_and_preserved(tmp_path: Path) -> None:
    target, link = tmp_path / "real", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_json_round_trips_and_undefined_numbers_become_null(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    value = {"π": 0.1 + 0.2, "list": (1, math.nan), "inner": {"high": math.inf, "low": -math.inf, "yes": True}}
    write_json(path, value)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not standard JSON")

    json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert read_json(path) == {
        "π": 0.1 + 0.2,
        "list": [1, None],
        "inner": {"high": None, "low": None, "yes": True},
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1,\n  b}', "line 2, column 3"),
        (b"\xff\xfe", "expected UTF-8 text"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_invalid_json_is_reported_with_the_path(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_a_missing_json_file_is_reported_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*gone\.json: No such file"):
        read_json(tmp_path / "gone.json")
