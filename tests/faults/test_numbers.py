"""Numbers that allocate or repeat have limits, stated with their costs, before anything is allocated."""

from __future__ import annotations

import time
from typing import Any

import pytest

HUGE = 10**12
WEIGHTS = ("GiB of weights", "layers, got")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (f"teacher.cascades={HUGE}", "expected at most 10,000 layers, got 4,000,000,000,000"),
        (f"student.depth={HUGE}", "expected at most 10,000 layers"),
        (f"student.channels={HUGE}", "expected at most 64 GiB of weights, got more than a billion GiB"),
        ("student.channels=100000", "expected at most 64 GiB of weights, got 2,011 GiB"),
        ("student.kernel=1000001", "expected at most 64 GiB of weights"),
        (f"task.dataset.slices={HUGE}", "expected at most 64 GiB of slices, got"),
        ("task.dataset.size=[1000000, 1000000]", "expected at most 64 GiB of slices, got"),
        ("task.dataset.train=1000000", "expected at most 100,000 subjects; each is an object in memory"),
        (f"training.epochs={HUGE}", "expected at most 1,000,000: each is a pass over the training split"),
        ("training.workers=100000", "expected at most 256: each is a process that opens the data"),
        ("teacher.ensemble=100000", "expected at most 100: each member is trained and evaluated"),
        (f"seeds=[{2**40}]", "generators take 31 bits"),
        (f"seeds={list(range(1001))}", "at most 1000 items"),
        ("training.lr=inf", "finite number"),
        ("training.lr=nan", "training.lr = nan"),
        (f"training.epochs={'9' * 5000}", "training.epochs=999"),
        ("seeds.²=1", "the list has the places 0 to 0"),
        (f"arms.{'9' * 5000}.alpha=1", "there is no '999999999999"),
        (f"arms.{'9' * 30}={{}}", "the list has the places 0 to 2"),
        (f"{'a.' * 5000}b=1", "expected at most 20 tables in each other, got 5000"),
        (f"training.x={'[' * 5000}{']' * 5000}", "training.x"),
    ],
    ids=lambda text: text[:40],
)
def test_a_number_beyond_its_limit_is_refused_at_once(override: str, message: str, comparison: Any) -> None:
    start = time.monotonic()
    error = comparison.again("-o", override).refusal
    assert message in error and len(error) <= 300
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("place", ["name", "arms.student.name"])
def test_names_that_are_parts_of_paths_are_limited(place: str, comparison: Any) -> None:
    assert "at most 100 characters" in comparison.again("-o", f"{place}={'n' * 101}").refusal


def test_the_number_of_seeds_is_limited(comparison: Any) -> None:
    message = comparison.again("--seeds", 10**9).refusal
    assert "expected at most 1,000, got 1000000000; each seed trains every arm" in message


def test_arms_that_differ_in_case_only_are_refused(comparison: Any) -> None:
    error = comparison.again("-o", "arms=[{name='KD'}, {name='kd'}]").refusal
    assert "the arms 'KD' and 'kd' differ in case only" in error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds = [" + "9" * 5000 + "]", "is not TOML: "),
        ("x = " + "[" * 50_000, "is not TOML"),
        ("name = \"\\ud800\"", "is not TOML"),
        ("a." * 200_000 + "a = 1", "is not TOML: expected at most 1000 dots in a key"),
        ("#" * 3_000_000, "is not TOML: expected at most 2,000,000 characters, got 3,000,000"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_parsed_is_one_line(text: str, message: str, tmp_path: Any, i2ikd: Any) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(text, encoding="utf-8")
    assert message in i2ikd("data", file).refusal


def test_an_error_does_not_print_the_whole_experiment(comparison: Any) -> None:
    long = ", ".join(f"{{name='arm{number}', recipe='kd-mri'}}" for number in range(500))
    error = comparison.again("-o", f"arms=[{long}, {{name='last', inputs=3}}]").refusal
    assert len(error) <= 300 and "arms.500.inputs = 3" in error
