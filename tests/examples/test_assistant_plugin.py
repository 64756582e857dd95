"""The example of a scheme is built, installed beside i2ikd, and compared: nothing of i2ikd was changed for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

QUICK = [
    "seeds=[0]",
    "task.dataset={name='phantom', train=2, val=1, test=1, slices=2, size=[32, 32]}",
    "teacher.channels=4",
    "student.channels=4",
    "training={epochs=1, batch=2, device='cpu'}",
    "comparison.latency=false",
]


def test_it_is_listed_with_everything_that_it_provides(site: Any, tmp_path: Path) -> None:
    plugins = json.loads(site.i2ikd("plugins", "--json", cwd=tmp_path))
    (found,) = (plugin for plugin in plugins if plugin["name"] == "assistant")
    assert (found["distribution"], found["version"], found["problem"]) == ("i2ikd-assistant", "0.1.0", None)
    provided = {(item["kind"], item["name"]) for item in found["provides"]}
    assert provided == {("objective", "assisted-imitation"), ("recipe", "assisted-imitation")}


def test_its_own_tests_pass_and_its_experiment_is_compared(site: Any, tmp_path: Path) -> None:
    overrides = [part for change in QUICK for part in ("-o", change)]
    site.tests_and_commands(
        "i2ikd_assistant",
        site.assistant / "tests",
        ["compare", site.assistant / "experiment.toml", "--out", "out", "--arms", "chain,assisted", *overrides],
        cwd=tmp_path,
    )
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert [row["arm"] for row in rows] == ["zero-filled", "teacher", "chain", "assisted"]
