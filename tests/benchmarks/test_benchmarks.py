"""The benchmark compares what computes the same: equal losses, sound ratios, and a table from one command."""

from __future__ import annotations

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
from click.testing import CliRunner

from benchmarks import run as command
from benchmarks.drift import SIZES, SMALL, engine_losses, plain_losses
from benchmarks.engine_loop import build_student
from benchmarks.limit import convolution
from benchmarks.measure import Spread, exponent, interleave, ratio, share
from benchmarks.operations import training_operations
from benchmarks.plain_loop import PlainStage
from benchmarks.setting import Setting
from benchmarks.table import Row
from benchmarks.turn import Over
from benchmarks.worker import VARIANTS, Reply, Worker, variant

TINY = Setting(size=24, batch=4, samples=12, cascades=2, channels=8)


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "live"])
@pytest.mark.parametrize("stage", ["output", "features"])
def test_the_engine_gives_the_losses_of_the_plain_loop(stage: Any, cache: bool) -> None:
    """Float32 networks either way; the plain loop's data consistency is in float64.

    ``benchmarks.drift`` has other sizes, and how far the plain loop is from itself with weights changed in the last
    bit: Adam divides by the gradient's size, so that rounding may grow.
    """
    setting = replace(SMALL, stage=stage, cache=cache)
    plain, engine = plain_losses(setting), engine_losses(setting)
    assert plain[-1] < 0.9 * plain[0], "it learns, so that the comparison says something"
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


def test_dropping_the_teachers_gradients_changes_no_loss() -> None:
    kept, dropped = (PlainStage(replace(TINY, through_teacher=flag)).losses() for flag in (True, False))
    assert list(itertools.islice(kept, 8)) == list(itertools.islice(dropped, 8))


def test_operations_are_those_of_the_papers_networks() -> None:
    """48,960 multiply-adds a pixel forward, as many for the gradients of weights and of features.

    The gradient of the first image is not needed.
    """
    setting = Setting(size=32, batch=2)
    pixels = setting.batch * setting.size**2
    expected = 2 * pixels * (3 * 48_960 - 9 * 32)
    assert training_operations(build_student(setting), setting) == expected


class Units:
    """A turn of so many units."""

    def __init__(self, units: int) -> None:
        self.left = units
        self.facts: dict[str, Any] = {}

    def note(self, **facts: Any) -> None:
        self.facts.update(facts)

    def begin(self) -> None:
        pass

    def done(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Over


def test_the_limit_counts_three_passes() -> None:
    turn = Units(1)
    with suppress(Over):
        convolution(Setting(size=16, batch=3, channels=8), turn)
    assert turn.facts["operations"] == 3 * 2 * 3 * 16 * 16 * 8 * 8 * 9


def reply(seconds: float, fastest: float = 0.0, **facts: Any) -> Reply:
    return Reply(seconds, fastest or seconds, 1.0, 1.0, 1.0, facts)


def test_ratios_are_taken_round_by_round() -> None:
    slow, fast = [reply(6.0), reply(9.0), reply(8.0)], [reply(1.0), reply(3.0), reply(2.0)]
    assert ratio(slow, fast) == Spread(4.0, 3.5, 5.0, (6.0, 3.0, 4.0))


def test_a_share_is_of_the_fastest_that_the_limit_was() -> None:
    work, limit = [reply(2.0, operations=8.0)], [reply(1.0, fastest=0.5, operations=4.0)]
    assert share(work, limit).median == 50


def test_an_exponent_is_that_of_the_growth() -> None:
    times = [Spread.of([3 * size**1.5, 5 * size**1.5]) for size in (1.0, 4.0, 10.0)]
    assert exponent([1.0, 4.0, 10.0], times).rounds == pytest.approx((1.5, 1.5))


@pytest.mark.parametrize(("at_least", "met"), [(True, False), (False, True)])
def test_a_reach_is_a_floor_or_a_ceiling(at_least: bool, met: bool) -> None:
    row = Row("group", "name", Spread.of([7.0]), reach=8.0, at_least=at_least)
    assert row.met is met
    assert Row("group", "name", Spread.of([7.0])).met is None


class Recorded:
    """A worker that writes down when it was asked."""

    def __init__(self, name: str, log: list[tuple[str, int]]) -> None:
        self._name, self._log = name, log

    def ask(self, units: int = 1) -> Reply:
        self._log.append((self._name, units))
        return reply(1.0)

    def close(self) -> None:
        pass


def test_rounds_interleave_after_a_warm_up() -> None:
    log: list[tuple[str, int]] = []
    replies = interleave({name: Recorded(name, log) for name in "ab"}, rounds=2, units=3)
    assert log == [("a", 1), ("b", 1), ("a", 3), ("b", 3), ("b", 3), ("a", 3)]
    assert [len(found) for found in replies.values()] == [2, 2]


class Threaded:
    """A worker in a thread of this process, which saves the start of a Python."""

    def __init__(self, name: str, setting: Setting) -> None:
        self._asked: queue.Queue[int] = queue.Queue()
        self._told: queue.Queue[Reply | BaseException] = queue.Queue()
        self._facts: dict[str, Any] = {}
        self._left = 0
        threading.Thread(target=self._work, args=(name, setting), daemon=True).start()

    def _work(self, name: str, setting: Setting) -> None:
        try:
            variant(name)(setting, self)
        except Over:
            pass
        except BaseException as error:
            self._told.put(error)

    def note(self, **facts: Any) -> None:
        self._facts.update(facts)

    def begin(self) -> None:
        self._wait()

    def done(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._told.put(reply(1.0, **self._facts))
            self._wait()

    def _wait(self) -> None:
        self._left = self._asked.get()
        if self._left == 0:
            raise Over

    def ask(self, units: int = 1) -> Reply:
        self._asked.put(units)
        told = self._told.get(timeout=60)
        if isinstance(told, BaseException):
            raise told
        return told

    def close(self) -> None:
        self._asked.put(0)


def test_one_command_measures_and_prints_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All groups but ``start``, whose commands take seconds to start."""
    monkeypatch.setattr(command, "Worker", Threaded)
    monkeypatch.setattr("benchmarks.limit._GEMM", 32)
    monkeypatch.setattr("i2ikd.engine.precision._faster", lambda device: "fp32")
    groups = [argument for name in command.GROUPS if name != "start" for argument in ("--only", name)]
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


def test_every_variant_can_be_found() -> None:
    assert all(callable(variant(name)) for name in VARIANTS)


def test_a_worker_is_a_process_that_replies_with_what_it_took() -> None:
    worker = Worker("machine", replace(TINY, threads=1))
    try:
        told = worker.ask(3)
    finally:
        worker.close()
    assert told.facts["threads"] == 1
    assert 0 < told.fastest <= told.seconds
    assert 10 < told.base_mb <= told.peak_mb
