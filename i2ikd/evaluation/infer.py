"""New data through a trained network: which files are meant, where results go, and the pass, slice by slice."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from i2ikd.errors import UserError
from i2ikd.evaluation.tiles import Tiling, run_tiled
from i2ikd.network import apply, to_memory_format
from i2ikd.sample import Batch
from i2ikd.task import SampleDataset, Task

Watch = Callable[[range], Iterable[int]]
"""Is given the slices of a volume and yields them one by one, showing how the work goes on."""


@dataclass(frozen=True)
class InferenceItem:
    """One volume to read, and where its result is written."""

    source: Path
    target: Path


def plan(task: Task, source: Path, output: Path, force: bool = False) -> list[InferenceItem]:
    """Say what would be read and written, before anything is.

    Args:
        task: knows which files are its own.
        source: a file, a folder that the task takes as one volume, or a folder at any depth below which they lie.
        output: the file to write; for a folder of volumes the folder, in which results have the names of their sources.
        force: whether results may take the place of files.

    Raises:
        UserError: nothing to read, no place to write, a result that exists, or one that would replace its own source.
    """
    if not source.exists():
        raise UserError(f"{source}: there is no such file or folder to read")
    if not output.resolve().parent.is_dir():
        raise UserError(f"there is no folder {output.resolve().parent} to write {output.name} into")
    if source.is_file() or task.reads(source):
        jobs = [InferenceItem(source, output)]
    else:
        if output.exists() and not output.is_dir():
            raise UserError(f"{source} is a folder, so the output must be one too, and {output} is a file")
        found = list(_volumes(task, source, output.resolve()))
        jobs = [InferenceItem(path, output / path.relative_to(source)) for path in found]
        if not jobs:
            raise UserError(f"{source}: in this folder is no file that the task {type(task).__name__} reads")
    for job in jobs:
        if job.source.resolve() == job.target.resolve():
            raise UserError(f"{job.target} is the input itself; write the result to another place")
        if job.target.exists() and not force:
            raise UserError(f"{job.target} exists; --force writes over it, or give another output")
    return jobs


def _volumes(task: Task, folder: Path, output: Path) -> Iterator[Path]:
    """Yield what the task reads below ``folder``, by name; hidden files and the output are passed over."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.resolve() == output:
            continue
        if task.reads(path):
            yield path
        elif path.is_dir():
            yield from _volumes(task, path, output)


class Inference:
    """A network at work on new data in float32, one slice at a time.

    Args:
        network: as trained; it is moved to ``device`` and put in eval mode.
        task: opens the files and writes the results.
        device: where the network runs; what it gave is kept on the CPU.
        tiling: how slices are divided; ``None``: not at all.

    Raises:
        UserError: tiles for a task whose slices cannot be divided.
    """

    def __init__(self, network: nn.Module, task: Task, device: torch.device, tiling: Tiling | None = None) -> None:
        self._network = to_memory_format(network, device).eval()
        self._task = task
        self._device = device
        self._tiling = tiling

    def __call__(self, job: InferenceItem, watch: Watch = iter) -> int:
        """Read, apply, and write one volume; return how many slices it has.

        The result is written beside its place and then moved there: it is whole or not there.

        Raises:
            UserError: the file cannot be read or written, the network does not fit it, or its output is not finite.
        """
        samples = self._task.sample_from_file(job.source)
        if len(samples) == 0:
            raise UserError(f"{job.source}: it has no slices")
        outputs = [self._output(samples, index, job.source) for index in watch(range(len(samples)))]
        try:
            job.target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".i2ikd-", dir=job.target.parent) as folder:
                written = Path(folder) / job.target.name
                self._task.write(outputs, job.source, written)
                _move(written, job.target)
        except OSError as error:
            raise UserError(f"{job.target}: cannot be written: {error.strerror or error}") from error
        return len(outputs)

    @torch.inference_mode()
    def _output(self, samples: SampleDataset, index: int, source: Path) -> Tensor:
        """Return the image [C, H, W] of one slice."""
        batch = Batch.collate([samples[index]])
        if self._tiling is None:
            output = self._run(batch)
        else:
            self._refuse_to_divide(batch)
            output = run_tiled(self._run, batch, self._tiling)
        if not bool(torch.isfinite(output).all()):
            raise UserError(f"{source}, slice {index}: the network gives values that are not finite")
        return output[0]

    def _run(self, batch: Batch) -> Tensor:
        return apply(self._network, batch.to(self._device, memory_format=torch.channels_last)).float().cpu()

    def _refuse_to_divide(self, batch: Batch) -> None:
        if self._task.tileable:
            return
        names = " and ".join(batch.conditions)
        reason = (
            f"{names} of a sample belong to the whole slice, not to a part of it" if names else "it does not say so"
        )
        raise UserError(
            f"the slices of the task {type(self._task).__name__} cannot be tiled: {reason}; leave out --tile"
        )


def _move(written: Path, target: Path) -> None:
    """Put a result in its place; of a folder that is there already, files of the same names are replaced."""
    if not written.exists():
        raise UserError(f"{target}: the task has written nothing")
    if written.is_dir() and target.is_dir():
        for path in written.iterdir():
            path.replace(target / path.name)
    else:
        written.replace(target)
