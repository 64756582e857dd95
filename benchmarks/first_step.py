"""Run ``i2ikd`` with the given arguments and exit at the first optimiser step; the caller times the process."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from torch.optim.optimizer import register_optimizer_step_post_hook

from i2ikd.cli.main import run


def _exit(*_: object) -> NoReturn:
    os._exit(0)


if __name__ == "__main__":
    register_optimizer_step_post_hook(_exit)
    run(sys.argv[1:])
    sys.exit("first_step: expected at least one optimiser step, got none")
