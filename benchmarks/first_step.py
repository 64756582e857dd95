"""``i2ikd`` with the given arguments, ended at the first step of an optimiser; its own process, timed from outside."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from torch.optim.optimizer import register_optimizer_step_post_hook

from i2ikd.cli.main import run


def _end(*_: object) -> NoReturn:
    os._exit(0)


if __name__ == "__main__":
    register_optimizer_step_post_hook(_end)
    run(sys.argv[1:])
    sys.exit("no optimiser step was made")
