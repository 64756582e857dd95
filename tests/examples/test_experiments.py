"""Every experiment that ships can be read, is named like its file, and says the command that runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

import i2ikd
from i2ikd.config import read_experiment

FOLDER = Path(__file__).parents[2] / "examples" / "experiments"
EXPERIMENTS = sorted(FOLDER.glob("*.toml"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_is_read_and_named_like_its_file(path: Path) -> None:
    experiment = read_experiment(path)
    assert experiment.name == path.stem
    assert f"i2ikd compare examples/experiments/{path.name} --out " in path.read_text()


@pytest.mark.parametrize("anatomy", ["brain", "cardiac", "knee"])
@pytest.mark.parametrize("acceleration", [4, 5, 8])
def test_the_papers_table_is_there_in_its_settings_and_for_two_cores(anatomy: str, acceleration: int) -> None:
    paper = read_experiment(FOLDER / f"{anatomy}-{acceleration}x.toml")
    quick = read_experiment(FOLDER / f"{anatomy}-{acceleration}x-quick.toml")
    assert (paper.training.epochs, paper.training.batch, paper.training.lr) == (150, 4, 1e-3)
    assert (paper.training.schedule, paper.training.decay_epochs, paper.training.decay_rate) == ("step", 40, 0.1)
    assert quick.training.epochs >= 30
    for experiment in (paper, quick):
        assert experiment.task.options["mask"]["acceleration"] == acceleration
        assert [arm.name for arm in experiment.arms] == ["student", "control", "kd-mri"]
        assert (experiment.teacher.options["depth"], experiment.student.options["depth"]) == (5, 3)


def test_the_comparison_has_every_registered_distiller() -> None:
    experiment = read_experiment(FOLDER / "distillers-4x.toml")
    used = {str(arm.options.get("distiller")) for arm in experiment.arms}
    missing = [n for n in i2ikd.list_components("distiller") if n not in ("target", "imitation") and n not in str(used)]
    assert missing == []
