"""Result of a command that runs in the test process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The only line on stderr, of a user error."""
        assert self.err.startswith("i2ikd: error: ") and self.err.endswith("\n"), self.err
        assert self.err.count("\n") == 1, self.err
        return self.refusal

    @property
    def refusal(self) -> str:
        """The line of a user error, which further lines on stderr may precede or follow."""
        assert self.code == 2, (self.code, self.out, self.err)
        lines = [line for line in self.err.splitlines() if line.startswith("i2ikd: error: ")]
        assert len(lines) == 1 and "Traceback" not in self.err, self.err
        return lines[0].removeprefix("i2ikd: error: ").rstrip()
