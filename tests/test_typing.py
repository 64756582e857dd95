"""A user's script that calls the public functions passes mypy --strict, and their types are precise."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "typed" / "user_script.py"

WRONG = """
import i2ikd
from torch import nn

result: str = i2ikd.distill(None, nn.Conv2d(1, 1, 1), [])
i2ikd.distill(None, 7, [])
task: nn.Module = i2ikd.create("task", "pairs")
i2ikd.load(3)
i2ikd.nothing
"""


def test_a_script_of_a_user_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run of mypy, with the flags of ``--strict`` for the script, and the cache of ``make test``."""
    from mypy import api

    monkeypatch.chdir(ROOT)
    wrong = tmp_path / "wrong_script.py"
    wrong.write_text(WRONG)
    report, problems, code = api.run([str(SCRIPT), str(wrong)])
    found = [line.partition("wrong_script.py:")[2].partition(":")[0] for line in report.splitlines()[:-1]]
    assert found == ["5", "6", "7", "8", "9"], report + problems
    assert code == 1, "the script has no error, and every wrong line has one"


def test_dir_lists_every_public_name() -> None:
    import i2ikd

    assert set(i2ikd.__all__) <= set(dir(i2ikd)) and dir(i2ikd) == sorted(dir(i2ikd))
