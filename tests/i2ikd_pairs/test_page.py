"""The example on the page about pairs, as it is copied."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2ikd.cli.main import run

PAGE = Path(__file__).parents[2] / "docs" / "pairs.md"


def block(language: str, number: int = 0) -> str:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return found[number]


def test_the_example_denoises_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    large_parts = block("python").replace("SIDE = 96", "SIDE = 200")  # fewer files
    exec(compile(large_parts, PAGE.name, "exec"), {})
    (tmp_path / "photos.toml").write_text(block("toml"), encoding="utf-8")
    python, *commands = block("console", 1).splitlines()
    assert python == "python noisy_photos.py" and [line.split()[1] for line in commands] == ["data", "compare", "infer"]
    quick = ["-o", "training.epochs=1", "-o", "comparison.latency=false", "-o", "task.patch=[16,16]"]
    quick += ["-o", "teacher.channels=4", "-o", "student.channels=2"]
    for line in commands:
        words = shlex.split(line)[1:]
        assert run([*words, *(quick if words[0] != "infer" else [])]) == 0
    name = min(path.name for path in (tmp_path / "photos" / "input" / "test").iterdir())
    with Image.open(f"photos/input/test/{name}") as source, Image.open(f"denoised/{name}") as result:
        assert (result.mode, result.size) == ("RGB", source.size)
        assert np.asarray(result).std() > 0
