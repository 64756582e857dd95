"""Inference on new data: selection of input and output files, and the forward passes, slice by slice."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from i2ikd.errors import UserError
from i2ikd.evaluation.tiles import Tiling, run_tiled
from i2ikd.network import apply, to_memory_format
from i2ikd.sample import Batch
from i2ikd.task import SampleDataset, Task

ProgressIterator = Callable[[range], Iterable[int]]
"""Function that iterates over the slices of a volume and displays the progress."""


@dataclass(frozen=True)
class InferenceItem:
    """Input and output path of one volume.

    Attributes:
        source: file or folder to read.
        target: file or folder to write.
    """

    source: Path
    target: Path


def plan(task: Task, suffixes: Sequence[str], source: Path, output: Path, force: bool = False) -> list[InferenceItem]:
    """Determine input and output paths; nothing is read or written.

    Args:
        task: decides which files it reads (``Task.reads``).
        suffixes: file name endings of the installed readers.
        source: a file, a folder that the task reads as one volume, or a folder that contains such files or folders at
            any depth.
        output: the file to write; for a folder of volumes, the folder of the results, which keep their relative paths.
        force: whether existing results may be overwritten.

    Returns:
        One item per volume, sorted by path.

    Raises:
        UserError: nothing to read, a missing output folder, an existing result without ``force``, or a result that
            would overwrite its source.
    """
    if not source.exists():
        raise UserError(f"{source}: no such file or folder")
    if not output.resolve().parent.is_dir():
        raise UserError(f"the folder {output.resolve().parent} of the output does not exist; create it first")
    if source.is_file() or task.reads(source, suffixes):
        items = [InferenceItem(source, output)]
    else:
        if output.exists() and not output.is_dir():
            raise UserError(f"{source} is a folder: expected a folder as output, got the file {output}")
        paths = list(_volumes(task, suffixes, source, output.resolve()))
        items = [InferenceItem(path, output / path.relative_to(source)) for path in paths]
        if not items:
            raise UserError(f"{source}: the folder contains no file that the task {type(task).__name__} reads")
    for item in items:
        if item.source.resolve() == item.target.resolve():
            raise UserError(f"{item.target}: input and output are the same file; choose another output")
        if item.target.exists() and not force:
            raise UserError(f"{item.target} exists already; overwrite it with --force, or choose another output")
    return items


def _volumes(task: Task, suffixes: Sequence[str], folder: Path, output: Path) -> Iterator[Path]:
    """Yield the paths below ``folder`` that the task reads, sorted; hidden files and the output are skipped."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.resolve() == output:
            continue
        if task.reads(path, suffixes):
            yield path
        elif path.is_dir():
            yield from _volumes(task, suffixes, path, output)


class Inference:
    """Inference with a trained network in float32, one slice at a time.

    Args:
        network: trained network; it is moved to ``device`` and set to eval mode.
        task: reads the inputs and writes the results.
        device: device of the network; outputs are kept on the CPU.
        tiling: division of slices into tiles; ``None`` for whole slices.
        scale: of the written values: units of the ``source``, or ``unit``, as the network returns them.

    Raises:
        UserError: ``scale`` is ``unit`` and the task writes units of the source only.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        device: torch.device,
        tiling: Tiling | None = None,
        scale: Literal["source", "unit"] = "source",
    ) -> None:
        if scale != "source" and "scale" not in inspect.signature(task.write).parameters:
            raise UserError(
                f"the task {type(task).__name__} writes the units of the source only: its method write has no argument "
                "scale; omit --scale"
            )
        self._write_options: dict[str, Any] = {} if scale == "source" else {"scale": scale}
        self._network = to_memory_format(network, device).eval()
        self._task = task
        self._device = device
        self._tiling = tiling

    def __call__(self, item: InferenceItem, progress: ProgressIterator = iter) -> int:
        """Process one volume.

        The result is written to a temporary folder beside its target and then moved, so that no partial result exists.

        Args:
            item: input and output path.
            progress: iterates over the slices.

        Returns:
            The number of slices.

        Raises:
            UserError: the file cannot be read or written, the network does not fit it, its output is not finite, or
                ``tiling`` is set and the task's slices cannot be divided.
        """
        samples = self._task.sample_from_file(item.source)
        if len(samples) == 0:
            raise UserError(f"{item.source}: the volume has no slices")
        outputs = [self._output(samples, index, item.source) for index in progress(range(len(samples)))]
        try:
            item.target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".i2ikd-", dir=item.target.parent) as folder:
                temporary = Path(folder) / item.target.name
                self._task.write(outputs, item.source, temporary, **self._write_options)
                _move(temporary, item.target)
        except OSError as error:
            raise UserError(f"cannot write {item.target}: {error.strerror or error}") from error
        return len(outputs)

    @torch.inference_mode()
    def _output(self, samples: SampleDataset, index: int, source: Path) -> Tensor:
        """Return the image [C, H, W] of one slice."""
        batch = Batch.collate([samples[index]])
        if self._tiling is None:
            output = self._run(batch)
        else:
            self._check_tileable(batch)
            output = run_tiled(self._run, batch, self._tiling)
        if not bool(torch.isfinite(output).all()):
            raise UserError(f"{source}, slice {index}: the network's output contains NaN or infinity")
        return output[0]

    def _run(self, batch: Batch) -> Tensor:
        """Return the output [B, C, H, W] in float32 on the CPU."""
        return apply(self._network, batch.to(self._device, memory_format=torch.channels_last)).float().cpu()

    def _check_tileable(self, batch: Batch) -> None:
        """Raise ``UserError`` for a task whose slices cannot be divided into tiles."""
        if self._task.tileable:
            return
        names = " and ".join(batch.conditions)
        reason = f"the conditions {names} refer to the whole slice" if names else "Task.tileable is False"
        raise UserError(f"the slices of the task {type(self._task).__name__} cannot be tiled: {reason}; omit --tile")


def _move(temporary: Path, target: Path) -> None:
    """Move a result to its target; in an existing folder, files of the same names are replaced."""
    if not temporary.exists():
        raise UserError(f"{target}: the task wrote no file")
    if temporary.is_dir() and target.is_dir():
        for path in temporary.iterdir():
            path.replace(target / path.name)
    else:
        temporary.replace(target)
