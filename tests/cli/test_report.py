"""``i2ikd report``: table and report of a finished comparison, without data and training."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from i2ikd.cli.report import command
from i2ikd.errors import UserError
from i2ikd.evaluation.records import NO_SEED, Record, write_records
from i2ikd.experiment.summary import Comparison, Costs, summarise

LEVELS = {"student": 30.0, "kd-mri": 31.0, "review": 30.5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    metric = "psnr-volume-max"
    records = [Record("zero-filled", NO_SEED, volume, volume, 0, {metric: 20.0 + n}) for n, volume in enumerate("abc")]
    for arm, level in {"teacher": 32.0, **LEVELS}.items():
        records += [Record(arm, 0, volume, volume, 0, {metric: level + n * n}) for n, volume in enumerate("abc")]
    kinds = {"zero-filled": "baseline", "teacher": "teacher", **dict.fromkeys(LEVELS, "arm")}
    comparison: Comparison = summarise(
        "small",
        {"measured acceleration": "4.05"},
        {"psnr": metric},
        records,
        kinds,  # type: ignore[arg-type]
        {arm: Costs(1000 * n, 5000, 1.5) for n, arm in enumerate(["teacher", *LEVELS], 1)},
        ["student"],
        "student",
        {metric: True},
    )
    (tmp_path / "experiment.json").write_text('{"name": "small"}', encoding="utf-8")
    (tmp_path / "results.json").write_text(json.dumps(comparison.as_json()), encoding="utf-8")
    write_records(tmp_path / "records.csv", records)
    return tmp_path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_table_is_printed_and_the_report_written(folder: Path) -> None:
    text = run(folder, "--by", "psnr")
    positions = [text.index(f"\n {arm} ") for arm in ("zero-filled", "teacher", "kd-mri", "review", "student")]
    assert positions == sorted(positions)
    assert "measured acceleration 4.05" in text and "32.67" in text
    written = {file.name for file in (folder / "report").iterdir()}
    assert written >= {"index.html", "table.md", "table.csv", "table.tex", "differences.svg"}


def test_arms_are_filtered_in_json_and_csv(folder: Path) -> None:
    rows = json.loads(run(folder, "--arms", "review, kd-mri", "--by", "params", "--json"))["rows"]
    assert [row["arm"] for row in rows] == ["zero-filled", "teacher", "kd-mri", "review"]
    assert rows[2]["psnr"]["mean"] == pytest.approx(31 + 5 / 3)
    with (folder / "report" / "table.csv").open(encoding="utf-8") as stream:
        assert [row["arm"] for row in csv.DictReader(stream)] == ["zero-filled", "teacher", "kd-mri", "review"]


def test_unknown_names_are_refused_with_the_nearest_name(folder: Path) -> None:
    for arguments, hint in ((["--by", "prams"], "'params'"), (["--arms", "revew"], "'review'")):
        with pytest.raises(UserError, match=f"did you mean {hint}"):
            CliRunner().invoke(command, [str(folder), *arguments], catch_exceptions=False)


def test_a_folder_without_a_comparison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder of a comparison"):
        CliRunner().invoke(command, [str(tmp_path)], catch_exceptions=False)


def test_several_folders_give_an_overview(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for file in ("experiment.json", "results.json"):
        text = (folder / file).read_text(encoding="utf-8")
        (other / file).write_text(text.replace('"small"', '"large"'), encoding="utf-8")
    (other / "records.csv").write_bytes((folder / "records.csv").read_bytes())
    text = run(folder, other, "--arms", "kd-mri,review")
    lines = [line.split() for line in text.splitlines() if line.strip()]
    assert [line[0] for line in lines[2:-3]] == ["kd-mri", "small", "large", "mean", "review", "small", "large", "mean"]
    assert lines[3][2:4] == ["32.67", "+1.00"] and not (folder / "report").exists()
    means = json.loads(run(folder, other, "--json"))["means"]
    assert means["kd-mri"]["differences"]["student"]["mean"] == pytest.approx(1.0)
    for arguments in ([str(other)], ["--references", "review"]):
        with pytest.raises(UserError, match="--by: expected one folder"):
            CliRunner().invoke(command, [str(folder), *arguments, "--by", "psnr"], catch_exceptions=False)


def test_references_give_the_differences_to_other_rows_of_one_folder_too(folder: Path) -> None:
    cells = json.loads(run(folder, "--references", "review, student", "--json"))["cells"]
    review, student = (cells["kd-mri"]["small"]["differences"][name]["mean"] for name in ("review", "student"))
    assert student == pytest.approx(1.0)
    assert review == pytest.approx(student - cells["review"]["small"]["differences"]["student"]["mean"])
    assert "Δ review" in run(folder, "--references", "review") and not (folder / "report").exists()
