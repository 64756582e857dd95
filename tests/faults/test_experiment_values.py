"""Any bytes, values and overrides of an experiment are accepted, or refused by one line before anything is run."""

from __future__ import annotations

import json
import time
import tomllib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from i2ikd import UserError
from i2ikd.config import Experiment, check_experiment, read_experiment
from i2ikd.experiment.checks import check
from i2ikd.experiment.context import ExperimentContext
from i2ikd.experiment.graph import RunGraph
from i2ikd.registry import default_registry
from tests.conftest import TINY
from tests.faults.damage import TRIED, damaged, share

SECONDS = 5.0
OPTIONAL = """
[task.mask]
name = "variable-density"
acceleration = 4

[training]
epochs = 2
batch = 2
lr = 1e-3
optimizer = "adam"
schedule = "step"
decay_epochs = 40
decay_rate = 0.1
weight_decay = 0.0
ema = 0.9
precision = "fp32"
device = "cpu"
augmentations = ["flip"]

[comparison]
latency = false

[comparison.metrics]
psnr = { name = "psnr" }
ssim = { name = "ssim" }
"""
LINES = [line for line in TINY.splitlines() if not line.startswith(("training", "comparison"))]
DOCUMENT: dict[str, Any] = {**tomllib.loads("\n".join(LINES)), **tomllib.loads(OPTIONAL)}
DOCUMENT["task"] = {**tomllib.loads(TINY)["task"], **tomllib.loads(OPTIONAL)["task"]}

NUMBERS = st.sampled_from(
    [-1, 0, 1, 3, 10**6, 2**31, 2**63, 10**30, 0.5, -0.0, 1e-300, 1e300, float("nan"), float("inf")]
)
TEXTS = st.sampled_from(
    ["", "a", "*", "..", "/dev/zero", "a\0b", "\ud800", "kd-mri", "import:os:system", "x" * 5000, "²"]
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value of a document."""
    if above:
        yield above
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*above, key))


PLACES = sorted(places(DOCUMENT), key=str)
CHANGES = st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def changed(changes: list[tuple[tuple[Any, ...], Any]]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(DOCUMENT))
    for place, value in changes:
        inner: Any = document
        try:
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
        except (KeyError, IndexError, TypeError):  # an earlier change removed the place
            continue
    return document


def accepted_or_refused(read: Any, folder: Path) -> None:
    TRIED["experiments"] += 1
    start = time.process_time()
    try:
        experiment: Experiment = read()
        graph = RunGraph(ExperimentContext(experiment, default_registry(), folder / "out"))
        check(graph, experiment.arms)
    except UserError as error:
        assert str(error)
    assert time.process_time() - start < SECONDS
    assert not (folder / "out").exists()


def profile(short: int) -> settings:
    return settings(max_examples=share(6, short), deadline=None, suppress_health_check=list(HealthCheck))


def test_the_unchanged_document_is_accepted(tmp_path: Path, drawn_once: None) -> None:
    experiment = check_experiment(DOCUMENT, "here")
    check(RunGraph(ExperimentContext(experiment, default_registry(), tmp_path / "out")), experiment.arms)


def test_any_values(tmp_path: Path, drawn_once: None) -> None:
    @profile(30)
    @given(CHANGES)
    def run(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
        accepted_or_refused(lambda: check_experiment(changed(changes), "here"), tmp_path)

    run()


def test_any_bytes_of_a_file(tmp_path: Path, drawn_once: None) -> None:
    file = tmp_path / "a.toml"

    @profile(25)
    @given(damaged(TINY.encode()))
    def run(content: bytes) -> None:
        file.write_bytes(content)
        accepted_or_refused(lambda: read_experiment(file, []), tmp_path)

    run()


def test_any_override(tiny_file: Path, tmp_path: Path, drawn_once: None) -> None:
    keys = st.one_of(st.sampled_from([".".join(map(str, place)) for place in PLACES]), st.text(max_size=12))
    values = st.one_of(
        VALUES.map(lambda value: json.dumps(value, ensure_ascii=False)),
        st.text(alphabet="ab.=[]{}'\" \n09-,\x00²", max_size=30),
        st.sampled_from(["[" * 500, "{a=" * 300, "9" * 5000]),
    )

    @profile(30)
    @given(st.lists(st.tuples(keys, values).map("=".join), min_size=1, max_size=2))
    def run(overrides: list[str]) -> None:
        accepted_or_refused(lambda: read_experiment(tiny_file, overrides), tmp_path)

    run()
