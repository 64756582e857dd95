"""Tracker that writes JSON lines to a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from i2ikd.errors import UserError


class JsonLines:
    """Tracker that appends the numbers of every epoch to a file, one JSON object per line.

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
        self._stream.write(json.dumps({"step": step, **values}) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
