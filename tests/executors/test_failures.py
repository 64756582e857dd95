"""A job that fails leaves out those that need its runs; the others are trained, and the error stands at the end."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest

from i2ikd import NullCallback, UserError
from i2ikd.executors.base import InProcessExecutor, Job, execute


@pytest.fixture
def trained() -> list[str]:
    return []


@pytest.fixture
def job(trained: list[str]) -> Callable[..., Job]:
    """Make a job of one run, which has the job's name as its digest; one that fails has a message."""

    def make(name: str, *needs: str, fails: str = "") -> Job:
        def run(callback: Any) -> None:
            if fails:
                raise UserError(fails, ["a detail"])
            trained.append(name)

        return Job(name, name, {}, 0, run, lambda: True, lambda callback: None, frozenset({name}), frozenset(needs))

    return make


def refused(jobs: list[Job], **options: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        execute(jobs, InProcessExecutor(NullCallback()), **options)
    return caught.value


def test_only_what_needs_a_failed_run_is_left_out(job: Any, trained: list[str]) -> None:
    lines: list[str] = []
    jobs = [job("teacher", fails="no disk"), job("arm", "teacher"), job("next", "arm"), job("student"), job("control")]
    error = refused(jobs, log=lines.append)
    assert trained == ["student", "control"]
    assert str(error) == "no disk" and lines == ["failed  teacher  (no disk)"]
    assert error.details == (
        "a detail",
        "arm was not trained: it needs teacher",
        "next was not trained: it needs teacher",
    )


def test_several_failures_are_one_error(job: Any, trained: list[str]) -> None:
    error = refused([job("a", fails="a: too small"), job("b"), job("c", fails="too large"), job("d", "c")])
    assert trained == ["b"]
    assert str(error) == "a: too small; one more failed, and the same command trains what is missing"
    assert error.details == ("a detail", "c: too large", "d was not trained: it needs c")


def test_several_failures_of_one_reason_are_its_line(job: Any) -> None:
    error = refused([job(name, fails="no disk") for name in "abc"])
    assert (str(error), error.details) == ("no disk", ("a detail",))


def test_processes_that_train_together_stop_at_once(job: Any, trained: list[str]) -> None:
    assert str(refused([job("a", fails="no disk"), job("b")], stop_at_failure=True)) == "no disk"
    assert trained == []


def test_the_networks_of_a_failed_run_do_not_stay_in_memory(job: Any) -> None:
    class Network:
        pass

    networks = weakref.WeakSet[Network]()

    def run(callback: Any) -> None:
        network = Network()
        networks.add(network)
        raise UserError("memory ran out") from MemoryError()

    def follow(callback: Any) -> None:
        assert not networks

    first = Job("a", "a", {}, 0, run, lambda: False, lambda callback: None)
    second = Job("b", "b", {}, 0, follow, lambda: True, lambda callback: None)
    error = refused([first, second])
    assert str(error) == "memory ran out" and isinstance(error.__cause__, MemoryError)


def test_an_error_that_is_no_users_ends_all_at_once(job: Any, trained: list[str]) -> None:
    def crash(callback: Any) -> None:
        raise ValueError("of a plugin")

    broken = Job("a", "a", {}, 0, crash, lambda: False, lambda callback: None)
    with pytest.raises(ValueError, match="of a plugin"):
        execute([broken, job("b")], InProcessExecutor(NullCallback()))
    assert trained == []
