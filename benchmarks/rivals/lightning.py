"""The expert's step in PyTorch Lightning."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

from torch import Tensor

from benchmarks.rivals.data import Item, loader
from benchmarks.rivals.expert import Step, optimiser
from benchmarks.setting import Setting


def train(setting: Setting, on_step: Callable[[Tensor], None]) -> None:
    """Train without end; see ``expert.train``."""
    import pytorch_lightning

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

    class Module(pytorch_lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.step = Step(setting)
            self.student, self.teacher = self.step.student, self.step.teacher

        def training_step(self, item: Item, index: int) -> Tensor:
            return self.step.loss(*item)

        def configure_optimizers(self) -> Any:
            return optimiser(self.step)

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            on_step(outputs["loss"].detach())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pytorch_lightning.Trainer(
            accelerator="gpu" if setting.device == "cuda" else "cpu",
            devices=1,
            max_steps=-1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Module(), loader(setting))
