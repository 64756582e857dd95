"""``i2ikd init --example``: packaged experiments, written with the files that they inherit from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from i2ikd.cli.examples import example_folder, example_names
from i2ikd.cli.main import cli
from i2ikd.config_file import read_document
from i2ikd.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(cli, ["init", *words])


@pytest.mark.parametrize("name", example_names())
def test_a_written_example_is_the_experiment_of_the_repository(
    name: str, init: Callable[..., Result], tmp_path: Path
) -> None:
    result = init("--example", name)
    assert result.exit_code == 0, result.output
    written = read_document(tmp_path / f"{name}.toml")
    assert written == read_document(example_folder() / f"{name}.toml")
    assert f"i2ikd compare {name}.toml --out runs/" in result.output
    assert f"i2ikd compare {name}.toml --out runs/" in (tmp_path / f"{name}.toml").read_text("utf-8")


def test_a_name_of_the_file_is_taken_and_bases_are_shared(init: Callable[..., Result], tmp_path: Path) -> None:
    assert init("mine.toml", "--example", "phantom-4x-quick").exit_code == 0
    assert init("other.toml", "--example", "cardiac-4x-quick").exit_code == 0
    files = ["brain-4x-quick.toml", "brain-4x.toml", "mine.toml", "other.toml"]
    assert sorted(file.name for file in tmp_path.iterdir()) == files


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--example", "brain-4x-quik"), "unknown example 'brain-4x-quik'; did you mean 'brain-4x-quick'?"),
        (("--example", "brain-4x", "--task", "mri-sr"), "expected --task or --example, got both"),
        (("brain-4x.toml", "--example", "brain-4x-quick"), "'brain-4x-quick' inherits from a file of this name"),
        (("--example", "sr-4x"), "sr-4x.toml exists already; overwrite it with --force"),
        (("mine.toml", "--example", "sr-4x-quick"), "sr-4x.toml exists already"),
        (("no/mine.toml", "--example", "sr-4x-quick"), "the folder no does not exist"),
    ],
)
def test_what_cannot_be_written_is_one_line(
    words: tuple[str, ...], message: str, init: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "sr-4x.toml").write_text("# mine\n", "utf-8")
    result = init(*words)
    assert isinstance(result.exception, UserError) and message in str(result.exception)
    assert [file.name for file in tmp_path.iterdir()] == ["sr-4x.toml"]
    assert (tmp_path / "sr-4x.toml").read_text("utf-8") == "# mine\n"


def test_an_existing_file_is_overwritten_on_request(init: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "sr-4x.toml").write_text("# mine\n", "utf-8")
    assert init("--example", "sr-4x", "--force").exit_code == 0
    assert "mri-sr" in (tmp_path / "sr-4x.toml").read_text("utf-8")
