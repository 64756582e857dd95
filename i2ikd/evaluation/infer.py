"""Inference on new data: the forward passes of a volume, slice by slice, and its result, written whole."""

from __future__ import annotations

import errno
import inspect
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from i2ikd.errors import UserError
from i2ikd.evaluation.inference_plan import InferenceItem
from i2ikd.evaluation.tiles import Tiling, run_tiled
from i2ikd.network import apply, to_memory_format
from i2ikd.sample import Batch
from i2ikd.task import SampleDataset, Task

ProgressIterator = Callable[[range], Iterable[int]]
"""Function that iterates over the slices of a volume and displays the progress."""

Announce = Callable[[Sequence[str]], None]
"""Function that displays what of an input is simulated, before anything is computed."""

_FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True)
class InferenceResult:
    """Result of one volume.

    Attributes:
        slices: number of slices.
        size: (height, width) of the written slices in pixels.
        simulated: what of the input was simulated instead of read; see ``SampleDataset.simulated``.
    """

    slices: int
    size: tuple[int, int]
    simulated: Sequence[str] = ()


class Inference:
    """Inference with a trained network in float32, one slice at a time.

    Args:
        network: trained network; it is moved to ``device`` and set to eval mode.
        task: reads the inputs and writes the results.
        device: device of the network; outputs are kept on the CPU.
        tiling: division of slices into tiles; ``None`` for whole slices.
        scale: of the written values: units of the ``source``, or ``unit``, as the network returns them.
        simulate: whether the input is simulated from the file, as in evaluation; otherwise the file is new data.
        overwrite: whether a result that exists is replaced.

    Raises:
        UserError: the task does not support ``scale``, ``simulate`` or ``tiling``.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        device: torch.device,
        tiling: Tiling | None = None,
        scale: Literal["source", "unit"] = "source",
        simulate: bool = False,
        overwrite: bool = False,
    ) -> None:
        name = type(task).__name__
        if tiling is not None and not task.tileable:
            raise UserError(
                f"the slices of the task {name} cannot be tiled: a part of a slice is no input of its network "
                "(Task.tileable is False); omit --tile"
            )
        if scale != "source" and not _has_argument(task.write, "scale"):
            raise UserError(
                f"the task {name} writes the units of the source only: its method write has no argument scale; "
                "omit --scale"
            )
        if simulate and not _has_argument(task.sample_from_file, "simulate"):
            raise UserError(
                f"the task {name} reads new data only: its method sample_from_file has no argument simulate; "
                "omit --simulate"
            )
        self._write_options: dict[str, Any] = {} if scale == "source" else {"scale": scale}
        self._read_options: dict[str, Any] = {"simulate": True} if simulate else {}
        self._network = to_memory_format(network, device).eval()
        self._task = task
        self._device = device
        self._tiling = tiling
        self._overwrite = overwrite

    def __call__(
        self, item: InferenceItem, progress: ProgressIterator = iter, announce: Announce = lambda lines: None
    ) -> InferenceResult:
        """Process one volume.

        The result is written to a temporary folder beside its target and then moved, so that no partial result exists.

        Args:
            item: input and output path.
            progress: iterates over the slices.
            announce: displays what is simulated.

        Raises:
            UserError: the file cannot be read or written, the network does not fit it, or its output is not finite.
        """
        samples = self._task.sample_from_file(item.source, **self._read_options)
        if len(samples) == 0:
            raise UserError(f"{item.source}: the volume has no slices")
        self._task.check_output(item.target, item.source, len(samples))
        simulated = tuple(samples.simulated)
        announce(simulated)
        outputs = [self._output(samples, index, item.source) for index in progress(range(len(samples)))]
        self._write(outputs, item)
        height, width = outputs[0].shape[-2:]
        return InferenceResult(len(outputs), (height, width), simulated)

    def _write(self, outputs: Sequence[Tensor], item: InferenceItem) -> None:
        """Write a result; messages name its target instead of the temporary file."""
        folder = ""
        try:
            item.target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".i2ikd-", dir=item.target.parent) as folder:
                temporary = Path(folder) / item.target.name
                self._task.write(outputs, item.source, temporary, **self._write_options)
                _move(temporary, item.target, self._overwrite)
        except UserError as error:
            raise UserError(str(error).replace(folder or "\0", str(item.target.parent))) from error
        except OSError as error:
            raise UserError(f"cannot write {item.target}: {error.strerror or error}") from error

    @torch.inference_mode()
    def _output(self, samples: SampleDataset, index: int, source: Path) -> Tensor:
        """Return the image [C, H, W] of one slice."""
        try:
            batch = Batch.collate([samples[index]])
        except UserError as error:  # of a volume that knows its name alone
            raise error if str(source) in str(error) else UserError(f"{source}: {error}") from error
        try:
            output = self._run(batch) if self._tiling is None else run_tiled(self._run, batch, self._tiling)
        except UserError:
            raise
        except Exception as error:  # a network that does not fit the file raises exceptions of any type
            raise UserError(
                f"{source}, slice {index}: {type(self._network).__name__} cannot take an input of "
                f"{list(batch.input.shape[1:])}: {type(error).__name__}: {error}"
            ) from error
        if not bool(torch.isfinite(output).all()):
            raise UserError(f"{source}, slice {index}: the network's output contains NaN or infinity")
        return output[0]

    def _run(self, batch: Batch) -> Tensor:
        """Return the output [B, C, H, W] in float32 on the CPU."""
        return apply(self._network, batch.to(self._device, memory_format=torch.channels_last)).float().cpu()


def concerns_all(error: BaseException | None) -> bool:
    """Whether an error of one volume ends the inference of the others: the disk is full or cannot be written.

    Args:
        error: an error of ``Inference``, with its causes.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL_DISK:
            return True
        error = error.__cause__
    return False


def _has_argument(function: Callable[..., Any], name: str) -> bool:
    return name in inspect.signature(function).parameters


def _move(temporary: Path, target: Path, overwrite: bool) -> None:
    """Move a result to its target; in an existing folder, files of the same names are replaced.

    Raises:
        UserError: there is no result, the target exists by now, or it is a folder with files of another result.
    """
    if not temporary.exists():
        raise UserError(f"{target}: the task wrote no file")
    if target.exists() and not overwrite:
        raise UserError(f"{target} exists by now: another program wrote it; choose another output")
    if temporary.is_dir() != target.is_dir() and target.exists():
        kinds = ("folder", "file") if temporary.is_dir() else ("file", "folder")
        raise UserError(f"{target}: the result is a {kinds[0]}, and a {kinds[1]} of this name exists; remove it")
    if not target.is_dir():
        temporary.replace(target)
        return
    names = {path.name for path in temporary.iterdir()}
    if others := sorted(path.name for path in target.iterdir() if path.name not in names):
        raise UserError(f"{target}: the folder holds files that are not replaced, such as {others[0]}; remove them")
    for path in temporary.iterdir():
        path.replace(target / path.name)
