"""Selection of the input and output paths of an inference, before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from i2ikd.errors import UserError
from i2ikd.natural_order import natural_key
from i2ikd.task import Task

Existing = Literal["refuse", "overwrite", "skip"]
"""Treatment of results that exist."""


@dataclass(frozen=True)
class InferenceItem:
    """Input and output path of one volume.

    Attributes:
        source: file or folder to read.
        target: file or folder to write.
    """

    source: Path
    target: Path


@dataclass(frozen=True)
class Failure:
    """Path without a result.

    Attributes:
        source: file or folder.
        reason: one line, without the path where it begins with it.
    """

    source: Path
    reason: str

    @classmethod
    def of(cls, source: Path, error: Exception) -> Failure:
        """Return the failure of a path with an error.

        Args:
            source: the path.
            error: why it has no result.
        """
        text = " ".join(str(error).split())
        return cls(source, text.removeprefix(str(source)).lstrip(":, ") or type(error).__name__)


@dataclass
class InferencePlan:
    """Volumes of an inference.

    Attributes:
        items: to be computed, in natural order of their paths.
        skipped: whose results exist.
        failed: folders and links that cannot be read.
        passed_over: files and folders that the task does not read.
        is_folder: whether the input is a folder of volumes.
    """

    items: list[InferenceItem] = field(default_factory=list)
    skipped: list[InferenceItem] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    passed_over: list[Path] = field(default_factory=list)
    is_folder: bool = False


def plan(
    task: Task,
    suffixes: Sequence[str],
    source: Path,
    output: Path,
    existing: Existing = "refuse",
    suffix: str | None = None,
) -> InferencePlan:
    """Determine input and output paths; no data is read, and nothing is written.

    Args:
        task: decides which files it reads (``Task.reads``), and the names of results (``Task.result_name``).
        suffixes: file name endings of the installed readers.
        source: a file, a folder that the task reads as one volume, or a folder that contains such files or folders at
            any depth; links are followed.
        output: the file to write; for a folder of volumes, the folder of the results, which keep their relative paths.
        existing: ``refuse`` raises an error for results that exist, ``skip`` leaves them, ``overwrite`` replaces them.
        suffix: ending of the results of a folder; ``None``: ``Task.result_name`` decides.

    Raises:
        UserError: nothing to read, a missing output folder, an existing result, results that the task cannot write,
            two volumes with one result, or a result that would overwrite its source.
    """
    if not source.exists():
        raise UserError(f"{source}: no such file or folder")
    if not output.resolve().parent.is_dir():
        raise UserError(f"the folder {output.resolve().parent} of the output does not exist; create it first")
    if source.is_file() or task.reads(source, suffixes):
        if suffix is not None:
            raise UserError(f"--suffix is for folders of volumes, and {source} is one volume; state it in --output")
        found = InferencePlan([InferenceItem(source, output)])
    else:
        found = _plan_folder(task, suffixes, source, output, suffix)
    inputs = {item.source.resolve() for item in found.items}
    for item in found.items:
        if item.target.resolve() in inputs:
            raise UserError(f"{item.target}: input and output are the same file; choose another output")
        task.check_output(item.target, item.source)
    if existing != "overwrite":
        _set_existing_aside(found, existing)
    return found


def _plan_folder(task: Task, suffixes: Sequence[str], source: Path, output: Path, suffix: str | None) -> InferencePlan:
    if output.exists() and not output.is_dir():
        raise UserError(f"{source} is a folder: expected a folder as output, got the file {output}")
    found = InferencePlan(is_folder=True)
    sources: dict[Path, Path] = {}
    for path in _volumes(task, suffixes, source, (output.resolve(), source.resolve()), found):
        name = task.result_name(path) if suffix is None else _stem(path, suffixes) + suffix
        target = output / path.relative_to(source).with_name(name)
        if target in sources:
            raise UserError(
                f"{path} has the result {target.name}, as {sources[target].relative_to(source)} has; rename one, or "
                "process them apart"
            )
        sources[target] = path
        found.items.append(InferenceItem(path, target))
    if not (found.items or found.failed):
        example = f"; it contains {found.passed_over[0].name}" if found.passed_over else ""
        raise UserError(f"{source}: the folder contains no file that the task {type(task).__name__} reads{example}")
    return found


def _set_existing_aside(found: InferencePlan, existing: Existing) -> None:
    exist = [item for item in found.items if item.target.exists()]
    if exist and existing == "refuse":
        others = f" ({len(exist)} of {len(found.items)} results do)" if found.is_folder else ""
        raise UserError(
            f"{exist[0].target} exists already{others}; overwrite with --force, keep with --skip-existing, or choose "
            "another output"
        )
    found.skipped = exist
    found.items = [item for item in found.items if item not in exist]


def _volumes(
    task: Task, suffixes: Sequence[str], folder: Path, above: tuple[Path, ...], found: InferencePlan
) -> Iterator[Path]:
    """Yield the paths below ``folder`` that the task reads, in natural order; record what cannot or need not be read.

    Args:
        task: decides what it reads.
        suffixes: file name endings of the installed readers.
        folder: the folder.
        above: real paths of the output, which is no input, and of the folders above, to detect links in a loop.
        found: receives failures and the paths that are passed over.
    """
    try:
        paths = sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    except OSError as error:
        found.failed.append(Failure(folder, f"the folder cannot be read: {error.strerror}"))
        return
    for path in paths:
        real = path.resolve()
        if path.name.startswith(".") or real in above:
            continue
        try:
            readable = task.reads(path, suffixes)
        except (UserError, OSError) as error:
            found.failed.append(Failure.of(path, error))
            continue
        if readable:
            yield path
        elif path.is_dir() and task.searches(path):
            yield from _volumes(task, suffixes, path, (*above, real), found)
        elif path.is_symlink() and not path.exists():
            found.failed.append(Failure(path, f"broken link to {str(path.readlink())!r}"))
        else:
            found.passed_over.append(path)


def _stem(path: Path, suffixes: Sequence[str]) -> str:
    """Return a name without the longest of the endings of readers; that of a folder is returned as it is."""
    if path.is_dir():
        return path.name
    endings = [suffix for suffix in suffixes if path.name.lower().endswith(suffix)]
    return path.name[: -len(max(endings, key=len))] if endings else os.path.splitext(path.name)[0]  # noqa: PTH122
