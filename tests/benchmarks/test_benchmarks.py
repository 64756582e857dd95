"""The compared loops have equal losses, ratios are correct, and one command measures the table."""

from __future__ import annotations

import ctypes
import itertools
import json
import queue
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks import groups_training
from benchmarks import run as command
from benchmarks.drift import SIZES, SMALL, engine_losses, plain_losses
from benchmarks.engine_loop import build_student
from benchmarks.limit import convolution
from benchmarks.measure import Plan, Spread, exponent, interleave, ratio, share
from benchmarks.operations import training_operations
from benchmarks.plain_loop import PlainStage
from benchmarks.setting import Setting
from benchmarks.table import Row
from benchmarks.turn import Finished, allocated_mib
from benchmarks.worker import VARIANTS, Reply, Worker, variant

TINY = Setting(size=24, batch=4, samples=12, cascades=2, channels=8)


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "live"])
@pytest.mark.parametrize("stage", ["output", "features"])
def test_the_engine_has_the_losses_of_the_plain_loop(stage: Any, cache: bool) -> None:
    """Networks are float32 in both loops; the data consistency of the plain loop is float64.

    ``benchmarks.drift`` measures other sizes, and the difference of the plain loop from itself with weights changed in
    the last bit: Adam divides by the magnitude of the gradient, so rounding differences can grow.
    """
    setting = replace(SMALL, stage=stage, cache=cache)
    plain, engine = plain_losses(setting), engine_losses(setting)
    assert plain[-1] < 0.9 * plain[0], "expected a decreasing loss, so that the comparison covers training"
    relative, absolute = (1e-5, 0) if stage == "output" else (0, 1e-5)
    np.testing.assert_allclose(engine, plain, rtol=relative, atol=absolute)
    np.testing.assert_allclose(engine[:20], plain[:20], rtol=1e-5)


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "live"])
@pytest.mark.parametrize(("stage", "steps"), [("output", 30), ("features", 20)])
def test_with_fewer_channels_the_first_losses_agree_to_rounding(stage: Any, steps: int, cache: bool) -> None:
    setting = replace(TINY, stage=stage, cache=cache)
    engine, plain = engine_losses(setting)[:steps], plain_losses(setting)[:steps]
    np.testing.assert_allclose(engine, plain, rtol=1e-6)


@pytest.mark.parametrize(("size", "channels"), SIZES)
def test_at_every_size_the_first_ten_losses_agree_to_rounding(size: int, channels: int) -> None:
    setting = replace(SMALL, size=size, channels=channels)
    np.testing.assert_allclose(engine_losses(setting)[:10], plain_losses(setting)[:10], rtol=1e-6)


def test_detaching_the_teacher_changes_no_loss() -> None:
    attached, detached = (PlainStage(replace(TINY, through_teacher=flag)).losses() for flag in (True, False))
    assert list(itertools.islice(attached, 8)) == list(itertools.islice(detached, 8))


def test_operations_match_the_papers_networks() -> None:
    """48,960 multiply-adds per pixel forward, as many for the gradients of the weights and of the features.

    The gradient of the first image is not computed.
    """
    setting = Setting(size=32, batch=2)
    pixels = setting.batch * setting.size**2
    expected = 2 * pixels * (3 * 48_960 - 9 * 32)
    assert training_operations(build_student(setting), setting) == expected


class Units:
    """Turn with a fixed number of units."""

    def __init__(self, units: int) -> None:
        self.left = units
        self.notes: dict[str, Any] = {}

    def note(self, **notes: Any) -> None:
        self.notes.update(notes)

    def begin(self) -> None:
        pass

    def done(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Finished


def test_the_limit_counts_forward_and_two_backward_passes() -> None:
    turn = Units(1)
    with suppress(Finished):
        convolution(Setting(size=16, batch=3, channels=8), turn)
    assert turn.notes["operations"] == 3 * 2 * 3 * 16 * 16 * 8 * 8 * 9


def reply(seconds: float, fastest: float = 0.0, **notes: Any) -> Reply:
    return Reply(seconds, fastest or seconds, 1.0, 1.0, 1.0, 1.0, notes)


def test_ratios_are_taken_round_by_round() -> None:
    slow, fast = [reply(6.0), reply(9.0), reply(8.0)], [reply(1.0), reply(3.0), reply(2.0)]
    assert ratio(slow, fast) == Spread(4.0, 3.5, 5.0, (6.0, 3.0, 4.0))


def test_a_share_refers_to_the_fastest_unit_of_the_limit() -> None:
    work, limit = [reply(2.0, operations=8.0)], [reply(1.0, fastest=0.5, operations=4.0)]
    assert share(work, limit).median == 50


def test_an_exponent_is_the_power_of_the_growth() -> None:
    times = [Spread.of([3 * size**1.5, 5 * size**1.5]) for size in (1.0, 4.0, 10.0)]
    assert exponent([1.0, 4.0, 10.0], times).rounds == pytest.approx((1.5, 1.5))


@pytest.mark.parametrize(("at_least", "met"), [(True, False), (False, True)])
def test_a_target_is_a_lower_or_an_upper_bound(at_least: bool, met: bool) -> None:
    row = Row("group", "name", Spread.of([7.0]), reach=8.0, at_least=at_least)
    assert row.met is met
    assert Row("group", "name", Spread.of([7.0])).met is None


class Recorded:
    """Worker that records its requests."""

    def __init__(self, name: str, log: list[tuple[str, int]]) -> None:
        self._name, self._log = name, log

    def run_units(self, units: int = 1) -> Reply:
        self._log.append((self._name, units))
        return reply(1.0)

    def close(self) -> None:
        pass


def test_rounds_interleave_after_a_warm_up() -> None:
    log: list[tuple[str, int]] = []
    replies = interleave({name: Recorded(name, log) for name in "ab"}, rounds=2, units=3)
    assert log == [("a", 1), ("b", 1), ("a", 3), ("b", 3), ("b", 3), ("a", 3)]
    assert [len(rounds) for rounds in replies.values()] == [2, 2]


class Epochs:
    """Worker whose epochs end with given resident and allocated memory."""

    def __init__(self, resident: list[float], allocated: list[float]) -> None:
        self._memory = list(zip(resident, allocated, strict=True))

    def run_units(self, units: int = 1) -> Reply:
        resident, allocated = self._memory.pop(0)
        return replace(reply(1.0), resident_mib=resident, allocated_mib=allocated)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("resident", "allocated", "met"),
    [
        ([1233, 1233, 1233, 1300, 1300], [170, 179, 179, 179, 179], True),
        ([1233, 1233, 1233, 1233, 1233], [170, 179, 179, 183, 183], False),
        ([1233, 1233, 1234, 1235, 1236], [170, 179, 181, 183, 185], False),
    ],
    ids=["gaps of the allocator", "kept once", "kept in every epoch"],
)
def test_growth_over_epochs_is_that_of_allocated_memory(
    resident: list[float], allocated: list[float], met: bool
) -> None:
    plan = Plan(TINY, 1, 1, False, True, lambda name, setting: Epochs(resident, allocated))
    row = groups_training._epochs(plan)
    assert row.met is met and row.value.median == pytest.approx(allocated[4] / allocated[1])


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33 or newer")
@pytest.mark.parametrize("large", [True, False], ids=["one block", "many blocks"])
def test_allocated_memory_is_that_which_was_not_freed(large: bool) -> None:
    """Tolerance 1 MiB: other allocations of Python and torch in between are smaller."""
    before = allocated_mib()
    kept = [torch.ones(2**24 // count) for count in ([1] if large else [1000] * 1000)]
    assert allocated_mib() - before == pytest.approx(64, abs=1)
    kept.clear()
    assert allocated_mib() - before == pytest.approx(0, abs=1)


class Threaded:
    """Worker in a thread of this process, which avoids the start of a Python process."""

    def __init__(self, name: str, setting: Setting) -> None:
        self._requests: queue.Queue[int] = queue.Queue()
        self._replies: queue.Queue[Reply | BaseException] = queue.Queue()
        self._notes: dict[str, Any] = {}
        self._left = 0
        threading.Thread(target=self._work, args=(name, setting), daemon=True).start()

    def _work(self, name: str, setting: Setting) -> None:
        try:
            variant(name)(setting, self)
        except Finished:
            pass
        except BaseException as error:
            self._replies.put(error)

    def note(self, **notes: Any) -> None:
        self._notes.update(notes)

    def begin(self) -> None:
        self._wait()

    def done(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._replies.put(reply(1.0, **self._notes))
            self._wait()

    def _wait(self) -> None:
        self._left = self._requests.get()
        if self._left == 0:
            raise Finished

    def run_units(self, units: int = 1) -> Reply:
        self._requests.put(units)
        answer = self._replies.get(timeout=60)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        self._requests.put(0)


def test_one_command_measures_and_prints_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Covers all groups except ``start``, whose commands take seconds, and those of ``test_rivals``."""
    monkeypatch.setattr(command, "Worker", Threaded)
    monkeypatch.setattr("benchmarks.limit._GEMM", 32)
    monkeypatch.setattr("i2ikd.engine.precision.bfloat16_instructions", lambda: False)
    groups = [
        argument for name in command.GROUPS if name not in ("start", "rivals", "grid") for argument in ("--only", name)
    ]
    sizes = ["--size", "64", "--batch", "2", "--cascades", "1", "--channels", "4", "--rounds", "1", "--quick"]
    file = tmp_path / "table.json"
    result = CliRunner().invoke(command.main, [*groups, *sizes, "--json", str(file)], catch_exceptions=False)
    assert result.exit_code == 0
    content = json.loads(file.read_text(encoding="utf-8"))
    names = {(row["group"], row["name"]) for row in content["rows"]}
    assert ("output stage, cpu", "fp32, cached, against plain") in names
    assert ("attention stage, cpu", "fp32, live teacher, against plain") in names
    assert ("inference, cpu", "student against teacher") in names
    assert not any("bf16" in name for _, name in names)
    assert content["setting"]["size"] == 64 and content["machine"]["threads"] >= 1
    assert "peak memory" in result.output and "reading" in result.output


def test_every_variant_can_be_imported() -> None:
    assert all(callable(variant(name)) for name in VARIANTS)


def test_a_worker_process_replies_with_its_measurements() -> None:
    worker = Worker("machine", replace(TINY, threads=1))
    try:
        measured = worker.run_units(3)
    finally:
        worker.close()
    assert measured.notes["threads"] == 1
    assert 0 < measured.fastest <= measured.seconds
    assert 10 < measured.base_mib <= measured.peak_mib
