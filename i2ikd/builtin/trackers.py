"""A tracker without any service: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from i2ikd.errors import UserError


class JsonLines:
    """Append every epoch's numbers to a file, one JSON object a line.

    Args:
        path: the file; it is appended to, never written over.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._stream = path.open("a", encoding="utf-8")
        except OSError as error:
            raise UserError(f"json-lines: cannot write to {path}: {error.strerror}") from None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one line."""
        self._stream.write(json.dumps({"step": step, **values}) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
