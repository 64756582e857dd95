"""What ends a training in the middle: a line with the run, and a checkpoint that resumes to the same numbers."""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from i2ikd_mri.slice_samples import VolumeSamples
from torch import nn
from torch.utils.data import get_worker_info

import i2ikd
from i2ikd import NullCallback, UserError
from i2ikd.engine.exhaustion import exhaustion
from i2ikd.engine.loop import Interrupted, _Saver

SMALL = ("task.dataset.size=[16, 16]", "training.epochs=3")
ALLOCATION = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4503599627370496 bytes"


class At(NullCallback):
    """Calls a function after one step of a run, with its network."""

    def __init__(self, step: int, call: Callable[[nn.Module], object]) -> None:
        self._left, self._call = step, call

    def on_run_start(self, context: Any) -> None:
        self._network = context.network

    def on_step_end(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._call(self._network)


@pytest.fixture
def saving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a checkpoint after every step."""
    monkeypatch.setattr(_Saver, "save_if_due", _Saver.save)


@pytest.fixture
def resumes(laboratory: Any, identical: Any) -> Callable[..., str]:
    """Train a student with a callback that ends it; return the error, after the same command ended with equal numbers.

    ``after``: restores what the callback broke.
    """

    def check(callback: Any, *overrides: str, after: Callable[[], None] = lambda: None) -> str:
        def train(out: str, callback: Any = None) -> Any:
            return laboratory.train(laboratory.graph(*SMALL, *overrides, out=out), "student", callback=callback)

        with pytest.raises(UserError) as caught:
            train("parts", callback)
        after()
        whole, parts = train("whole"), train("parts")
        assert identical(laboratory.weights(whole), laboratory.weights(parts))
        assert whole.folder.history() == parts.folder.history()
        return str(caught.value)

    return check


def fail(error: BaseException) -> Callable[[nn.Module], None]:
    def call(network: nn.Module) -> None:
        raise error

    return call


@pytest.mark.usefixtures("saving")
class TestNotFinite:
    def spoil(self, network: nn.Module) -> None:
        with torch.no_grad():
            next(network.parameters()).view(-1)[0] = float("nan")

    @pytest.mark.parametrize(("step", "place"), [(2, "'target' became nan in epoch 1, step 0"), (6, "'validation'")])
    def test_every_start_ends_with_the_same_line(self, step: int, place: str, laboratory: Any) -> None:
        for callback in (At(step, self.spoil), None):
            with pytest.raises(UserError, match=rf"^students/student/seed0: the term {place}.*; lower training\.lr"):
                laboratory.train(laboratory.graph(*SMALL), "student", callback=callback)
            assert not list(laboratory.folder.glob("out/store/*/weights.pt"))

    def test_weights_that_no_validation_follows(self, laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("i2ikd.engine.trainer.Trainer._is_validated", lambda *_: False)
        with pytest.raises(UserError, match=r"^students/student/seed0: the weights '.*' are not finite after the last"):
            laboratory.train(laboratory.graph(*SMALL), "student", callback=At(6, self.spoil))
        assert not list(laboratory.folder.glob("out/store/*/weights.pt"))


@pytest.mark.usefixtures("saving")
class TestMemory:
    @pytest.mark.parametrize("error", [MemoryError(), RuntimeError(ALLOCATION), RuntimeError("CUDA out of memory.")])
    def test_the_same_command_continues(self, error: Exception, resumes: Any) -> None:
        message = resumes(At(3, fail(error)))
        assert message.startswith("students/student/seed0: memory ran out in epoch 1, step 1; lower training.batch, ")
        assert message.endswith("; the same command continues from the checkpoint")


def test_without_a_checkpoint_the_line_states_it(resumes: Any) -> None:
    message = resumes(At(3, fail(MemoryError())))
    assert message.endswith("; the same command starts the run again, which has no checkpoint")


def test_other_errors_are_no_lack_of_memory() -> None:
    for error in (ValueError("DataLoader"), RuntimeError("shapes differ"), ConnectionResetError("of a socket")):
        assert exhaustion(error) is None


class TestReadingProcesses:
    def test_one_that_is_killed(self, resumes: Any) -> None:
        def kill(network: nn.Module) -> None:
            for process in multiprocessing.active_children():
                os.kill(process.pid or 0, signal.SIGKILL)
                process.join()

        message = resumes(At(1, kill), "training.workers=1")
        assert message.startswith("students/student/seed0: a process that reads data ended (")
        assert "lower training.workers" in message

    @pytest.mark.parametrize(
        ("error", "line"),
        [
            (UserError("a.h5: cut off"), "a.h5: cut off"),
            (SystemExit(3), "SystemExit: 3 (in tests.faults.test_trainings)"),
        ],
    )
    def test_an_error_in_one_is_a_line_after_a_checkpoint(
        self, error: BaseException, line: str, resumes: Any, monkeypatch: pytest.MonkeyPatch, laboratory: Any
    ) -> None:
        original = VolumeSamples.sample

        def sample(dataset: Any, index: int, seed: int | None) -> Any:
            if get_worker_info() is not None:
                raise error
            return original(dataset, index, seed)

        def restore() -> None:
            assert len(list(laboratory.folder.glob("parts/store/*/checkpoint.pt"))) == 1
            monkeypatch.setattr(VolumeSamples, "sample", original)

        monkeypatch.setattr(VolumeSamples, "sample", sample)
        assert resumes(None, "training.workers=1", after=restore).partition(";")[0] == line

    def test_a_signal_that_ends_it_too_is_an_interruption(
        self, laboratory: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def sample(*_: Any) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            raise EOFError

        def replace(network: nn.Module) -> None:
            monkeypatch.setattr(VolumeSamples, "sample", sample)

        with pytest.raises(Interrupted):
            laboratory.train(laboratory.graph(*SMALL), "student", callback=At(1, replace))


@pytest.mark.usefixtures("saving")
def test_a_disk_that_fills(resumes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def full(network: nn.Module) -> None:
        def refuse(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", refuse)

    message = resumes(At(3, full), after=lambda: monkeypatch.setattr(os, "fsync", sync))
    assert message.startswith("cannot write ") and message.endswith("checkpoint.pt: No space left on device")


@pytest.mark.usefixtures("saving")
def test_a_clock_that_jumps(resumes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    year, now = 366 * 24 * 3600.0, time.time()
    jumps = itertools.cycle([0.0, -30 * year, 20 * year])
    monkeypatch.setattr(time, "time", lambda: now + next(jumps))
    assert resumes(At(4, fail(UserError("ended")))) == "ended"


class TestSettingsOfTheProcess:
    """A distiller of a plugin that changes them in the middle of a training."""

    def train(self, change: Callable[[], object], laboratory: Any) -> Any:
        class Careless(i2ikd.Distiller):
            uses_taps = False

            def forward(self, student: Any, knowledge: Any, batch: Any) -> Any:
                change()
                return student.image().abs().mean()

        class Plugin:
            @i2ikd.hookimpl
            def register_distillers(self, register: Any) -> None:
                register("careless", Careless)

        arms = [{"name": "arm", "recipe": "joint", "distiller": "careless"}]
        settings = ("task.dataset.size=[16, 16]", "training.epochs=1")
        return laboratory.train(laboratory.graph(*settings, arms=arms, plugins=(Plugin(),)), "arm")

    def test_are_put_back_with_a_line(self, laboratory: Any, capsys: pytest.CaptureFixture[str]) -> None:
        self.train(lambda: torch.use_deterministic_algorithms(True), laboratory)
        assert not torch.are_deterministic_algorithms_enabled()
        line = "i2ikd: the training of students/arm/seed0 changed deterministic algorithms of the process; put back\n"
        assert capsys.readouterr().err == line

    def test_without_gradients_the_loss_is_refused(self, laboratory: Any) -> None:
        with pytest.raises(UserError, match=r"^students/arm/seed0: the loss of epoch 0, step 0 has no gradient: "):
            self.train(lambda: torch.set_grad_enabled(False), laboratory)
        assert torch.is_grad_enabled()
