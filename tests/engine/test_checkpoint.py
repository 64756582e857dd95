"""Files of weights and checkpoints: whole or not there, read without executing anything."""

from __future__ import annotations

import errno
import io
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from i2ikd import UserError
from i2ikd.engine import checkpoint
from i2ikd.engine.build import load_weights, read_state


class Malice:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def network(channels: int = 3) -> nn.Module:
    torch.manual_seed(channels)
    return nn.Sequential(nn.Conv2d(1, channels, 3), nn.ReLU(), nn.BatchNorm2d(channels))


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    content = {"state": network().state_dict(), "step": 3, "rate": 0.1, "names": ["a"], "none": None}
    checkpoint.save(content, tmp_path / "c.pt")
    found = checkpoint.load(tmp_path / "c.pt")
    assert {k: v for k, v in found.items() if k not in ("state", "format")} == {
        k: v for k, v in content.items() if k != "state"
    }
    assert all(torch.equal(found["state"][name], tensor) for name, tensor in network().state_dict().items())


class TestAWriteThatFails:
    def failing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException) -> None:
        """Save a second checkpoint over a first, with an operation that fails."""

        def fail(*_: object, **__: object) -> None:
            raise error

        checkpoint.save({"step": 1}, tmp_path / "c.pt")
        with monkeypatch.context() as patch:
            if where == "replace":
                patch.setattr(Path, "replace", fail)
            else:
                patch.setattr(os, where, fail)
            with pytest.raises(UserError if isinstance(error, OSError) else type(error), match=r"c\.pt|^$"):
                checkpoint.save({"step": 2}, tmp_path / "c.pt")

    @pytest.mark.parametrize("where", ["fsync", "replace"])
    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
    def test_leaves_the_one_before(
        self, where: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.failing(tmp_path, monkeypatch, where, error)
        assert checkpoint.load(tmp_path / "c.pt")["step"] == 1
        assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]

    def test_a_partial_file_of_a_killed_process_is_ignored(self, tmp_path: Path) -> None:
        checkpoint.save({"step": 1}, tmp_path / "c.pt")
        (tmp_path / ".c.pt.123.abcd.part").write_bytes((tmp_path / "c.pt").read_bytes()[:100])
        assert checkpoint.load(tmp_path / "c.pt")["step"] == 1
        checkpoint.save({"step": 2}, tmp_path / "c.pt")
        assert checkpoint.load(tmp_path / "c.pt")["step"] == 2


class TestAFileThatIsNoCheckpoint:
    def test_nothing_in_it_is_executed(self, tmp_path: Path) -> None:
        for name, write in (
            ("pickle.pt", lambda c, p: p.write_bytes(pickle.dumps(c))),
            ("torch.pt", torch.save),
            ("legacy.pt", lambda c, p: torch.save(c, p, _use_new_zipfile_serialization=False)),
        ):
            path, folder = tmp_path / name, tmp_path / f"made by {name}"
            write({"format": 1, "state": Malice(folder)}, path)
            for read in (checkpoint.load, read_state):
                with pytest.raises(UserError, match=f"{name} is no checkpoint that can be read safely"):
                    read(path)
            assert not folder.exists()

    @pytest.mark.parametrize("size", [0, 1, 3, 100, 5000])
    def test_bytes_of_any_kind_are_refused(self, size: int, tmp_path: Path) -> None:
        path = tmp_path / "c.pt"
        for seed in range(30):
            path.write_bytes(random.Random(seed).randbytes(size))
            with pytest.raises(UserError, match=r"c\.pt is no checkpoint"):
                checkpoint.load(path)
            with pytest.raises(UserError, match=r"c\.pt is no checkpoint"):
                read_state(path)

    def test_damage_anywhere_never_ends_in_another_error(self, tmp_path: Path) -> None:
        path = tmp_path / "c.pt"
        checkpoint.save({"state": {"weight": torch.ones(3, 2)}, "step": 7}, path)
        whole = path.read_bytes()
        for position in range(0, len(whole), 7):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x5A]) + whole[position + 1 :])
            try:
                checkpoint.load(path)
            except UserError as error:
                assert "\n" not in str(error)
        for length in range(0, len(whole), 53):
            path.write_bytes(whole[:length])
            with pytest.raises(UserError):
                checkpoint.load(path)

    def test_other_content_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "c.pt"
        for content in (torch.ones(3), [1, 2], {"a": 1}, {"format": 99}, {}, {"weight": [1.0]}):
            torch.save(content, path)
            for read in (checkpoint.load, read_state):
                with pytest.raises(UserError, match=r"is no checkpoint of i2ikd \(format .*; this version reads 1\)"):
                    read(path)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "nothing")
        with pytest.raises(UserError, match="is no checkpoint"):
            checkpoint.load(path)

    def test_one_that_is_missing_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"there is no checkpoint .*none\.pt"):
            checkpoint.load(tmp_path / "none.pt")


class TestWeights:
    def test_a_plain_state_dict_is_taken(self, tmp_path: Path) -> None:
        torch.save(network().state_dict(), tmp_path / "plain.pt")
        other = network(3)
        nn.init.zeros_(other[0].weight)
        load_weights(other, tmp_path / "plain.pt")
        assert torch.equal(other[0].weight, network()[0].weight)

    def test_a_run_on_its_way_is_no_finished_one(self, tmp_path: Path) -> None:
        checkpoint.save({"digest": "x", "trainer": {}}, tmp_path / "weights.pt")
        with pytest.raises(UserError, match="is a checkpoint of a run that has not ended; the finished weights are in"):
            load_weights(network(), tmp_path)

    def test_another_networks_are_refused_and_the_differences_named(self, tmp_path: Path) -> None:
        torch.save(network(4).state_dict(), tmp_path / "other.pt")
        with pytest.raises(UserError, match=r"another network's weights: 0\.bias: expected \(3,\), got \(4,\)"):
            load_weights(network(3), tmp_path / "other.pt")
        state = network().state_dict()
        state["9.weight"] = state.pop("0.weight")
        torch.save(state, tmp_path / "names.pt")
        with pytest.raises(UserError, match=r"it lacks 0\.weight; it has 9\.weight besides"):
            load_weights(network(), tmp_path / "names.pt")

    def test_values_that_are_no_tensors_are_refused(self, tmp_path: Path) -> None:
        checkpoint.save({"state": dict.fromkeys([*network().state_dict(), 5], 1.0)}, tmp_path / "w.pt")
        with pytest.raises(UserError, match="another network's weights: it has 5 besides"):
            load_weights(network(), tmp_path / "w.pt")

    def test_a_copy_in_memory_is_as_good(self) -> None:
        stream = io.BytesIO()
        torch.save(network().state_dict(), stream)
        stream.seek(0)
        checkpoint.load_state(network(), torch.load(stream, weights_only=True), "memory")
