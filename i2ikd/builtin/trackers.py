"""Trackers: JSON lines, TensorBoard, Weights & Biases and MLflow, each by its own library."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from i2ikd.errors import UserError

if TYPE_CHECKING:
    import numpy as np

Rows = Sequence[Mapping[str, Any]]
"""Rows of the final table: ``arm`` and numbers by column."""


class JsonLines:
    """Tracker that appends the numbers of every epoch to a file, one JSON object per line; the table is the last line.

    Args:
        path: the file; existing content is preserved.

    Raises:
        UserError: the file cannot be opened for writing.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._stream = path.open("a", encoding="utf-8")
        except OSError as error:
            raise UserError(f"json-lines: cannot write to {path}: {error.strerror}") from None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line.

        Args:
            step: number of completed epochs of the stage, from 1.
            values: numbers by name.
        """
        self._write({"step": step, **values})

    def log_table(self, rows: Rows) -> None:
        """Append the table as one line.

        Args:
            rows: of the table.
        """
        self._write({"table": list(rows)})

    def _write(self, content: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(content) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class TensorBoard:
    """Tracker that writes event files for TensorBoard (``pip install "i2ikd[tensorboard]"``).

    Args:
        folder: of the event files; ``tensorboard --logdir FOLDER`` shows them.

    Raises:
        UserError: TensorBoard is not installed, or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise _missing("tensorboard", "tensorboard") from error
        try:
            self._writer: Any = SummaryWriter(str(folder))
        except OSError as error:
            raise UserError(f"tensorboard: cannot write to {folder}: {error.strerror}") from None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars; see ``JsonLines.log``."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def log_images(self, images: Mapping[str, np.ndarray]) -> None:
        """Write images.

        Args:
            images: [H, W] or [H, W, 3] in 0..1 by name.
        """
        for name, image in images.items():
            self._writer.add_image(name, image, dataformats="HW" if image.ndim == 2 else "HWC")

    def log_table(self, rows: Rows) -> None:
        """Write the table as Markdown, and its numbers as scalars ``table/ARM/COLUMN``."""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += ["| " + " | ".join(_shown(row.get(name)) for name in columns) + " |" for row in rows]
        self._writer.add_text("table", "\n".join(lines))
        for name, value in _final(rows).items():
            self._writer.add_scalar(name, value)

    def close(self) -> None:
        """Write what is left, and close the files."""
        self._writer.close()


class WandB:
    """Tracker for Weights & Biases (``pip install "i2ikd[wandb]"``).

    Args:
        project: name of the project.
        run: name of the run; Weights & Biases chooses one unless given.
        mode: ``offline`` writes to ``folder`` alone, and ``wandb sync`` uploads it; ``online`` uploads after a login.
        folder: of the files.

    Raises:
        UserError: wandb is not installed, or cannot start.
    """

    def __init__(
        self,
        project: str = "i2ikd",
        run: str | None = None,
        mode: Literal["offline", "online"] = "offline",
        folder: Path = Path(),
    ) -> None:
        try:
            import wandb
        except ImportError as error:
            raise _missing("wandb", "wandb") from error
        self._library: Any = wandb
        hooks = sys.exit, sys.excepthook  # replaced by wandb, whose exit would count as that of a plugin
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._run: Any = wandb.init(project=project, name=run, mode=mode, dir=str(folder), reinit="finish_previous")
        except (OSError, wandb.Error) as error:
            raise UserError(
                f"wandb: cannot start a run: {' '.join(str(error).split())}; set mode = 'offline'"
            ) from None
        finally:
            sys.exit, sys.excepthook = hooks

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers with the epoch of their stage, as ``epoch``: steps of Weights & Biases count the calls."""
        self._run.log({**values, "epoch": step})

    def log_images(self, images: Mapping[str, np.ndarray]) -> None:
        """Log images; see ``TensorBoard.log_images``."""
        self._run.log({name: self._library.Image((255 * image).astype("uint8")) for name, image in images.items()})

    def log_table(self, rows: Rows) -> None:
        """Log the table, and its numbers in the run's summary."""
        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = self._library.Table(columns=columns, data=[[row.get(name) for name in columns] for row in rows])
        self._run.log({"table": table})
        self._run.summary.update(_final(rows))

    def close(self) -> None:
        """End the run."""
        self._run.finish()


class MLflow:
    """Tracker for MLflow (``pip install "i2ikd[mlflow]"``).

    Args:
        uri: of the tracking server, or of a local store such as ``sqlite:///mlflow.db`` or ``file:./mlruns``.
        experiment: name of MLflow's experiment.
        run: name of the run; MLflow chooses one unless given.

    Raises:
        UserError: mlflow is not installed, or the store cannot be used.
    """

    def __init__(self, uri: str = "file:./mlruns", experiment: str = "i2ikd", run: str | None = None) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise _missing("mlflow", "mlflow-skinny") from error
        try:
            self._client: Any = MlflowClient(tracking_uri=uri)
            found = self._client.get_experiment_by_name(experiment)
            identity = found.experiment_id if found is not None else self._client.create_experiment(experiment)
            self._run: str = self._client.create_run(identity, run_name=run).info.run_id
        except Exception as error:
            raise UserError(f"mlflow: cannot use {uri}: {' '.join(str(error).split())[:160]}") from None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log metrics; see ``JsonLines.log``."""
        for name, value in values.items():
            self._client.log_metric(self._run, _mlflow_name(name), value, step=step)

    def log_images(self, images: Mapping[str, np.ndarray]) -> None:
        """Log images as artifacts; see ``TensorBoard.log_images``."""
        for name, image in images.items():
            self._client.log_image(self._run, (255 * image).astype("uint8"), f"images/{_mlflow_name(name)}.png")

    def log_table(self, rows: Rows) -> None:
        """Log the table as the artifact ``table.json``, and its numbers as metrics ``table/ARM/COLUMN``."""
        self._client.log_dict(self._run, {"rows": [dict(row) for row in rows]}, "table.json")
        for name, value in _final(rows).items():
            self._client.log_metric(self._run, _mlflow_name(name), value)

    def close(self) -> None:
        """End the run."""
        self._client.set_terminated(self._run)


def _missing(extra: str, package: str) -> UserError:
    return UserError(f'the tracker {extra!r} needs {package}, which is not installed: pip install "i2ikd[{extra}]"')


def _final(rows: Rows) -> dict[str, float]:
    """Return the numbers of a table by ``table/ARM/COLUMN``."""
    return {
        f"table/{row['arm']}/{name}": float(value)
        for row in rows
        for name, value in row.items()
        if isinstance(value, int | float) and value == value
    }


def _shown(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else str(value)


def _mlflow_name(name: str) -> str:
    """Return a name without characters that MLflow refuses.

    >>> _mlflow_name("students/a+b/psnr (dB)")
    'students/a_b/psnr _dB_'
    """
    return re.sub(r"[^\w\-. /]", "_", name)
