"""The program ``i2ikd`` and ``python -m i2ikd``, which ``torchrun -m i2ikd`` starts in every process."""

from __future__ import annotations

from i2ikd.cli.ending import ended_by_signals


def main() -> None:
    """Run the command line and exit the process."""
    with ended_by_signals(for_good=True):  # also while the command line is imported
        from i2ikd.cli.main import main as run_and_exit

        run_and_exit()


if __name__ == "__main__":
    main()
