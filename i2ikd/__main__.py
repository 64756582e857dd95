"""``python -m i2ikd``, which ``torchrun -m i2ikd`` starts in every process."""

from __future__ import annotations

from i2ikd.cli.main import main

if __name__ == "__main__":
    main()
