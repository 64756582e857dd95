"""The Transform interface: a change of a network, around its training or after it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal

from torch import nn

from i2ikd.sample import Batch
from i2ikd.task import Task


class Transform(ABC):
    """Changes a network; options are typed constructor arguments.

    A *training* transform is applied before a run's first stage and folded after its last one, so that the saved
    weights fit a plain build of the model. A *trained* transform is applied whenever a finished network is loaded for
    scoring, timing or export, and must therefore be deterministic.
    """

    when: ClassVar[Literal["training", "trained"]] = "trained"

    @abstractmethod
    def apply(self, network: nn.Module, batches: Iterable[Batch], task: Task) -> nn.Module:
        """Return the changed network; it may be ``network`` itself, changed in place.

        Args:
            network: on the device of the batches.
            batches: calibration data from the training split, in a fixed order.
            task: samples, loss and metrics.

        Raises:
            UserError: the network cannot be changed in this way.
        """

    def apply_stored(self, network: nn.Module, batches: Iterable[Batch], task: Task, folder: Path) -> nn.Module:
        """Return the changed network of a row of the table, with a folder for results that are worth keeping.

        A transform that takes long can write to the folder, and read from it when the row is loaded again. What is read
        must be compared with what it depends on. By default the folder is not used.

        Args:
            network: as for ``apply``.
            batches: as for ``apply``.
            task: as for ``apply``.
            folder: of this network and its transforms, which may not exist yet.
        """
        return self.apply(network, batches, task)

    def fold(self, network: nn.Module) -> nn.Module:
        """Return a plain network that computes the same; only called for training transforms.

        Its ``state_dict`` must fit a fresh build of the model.
        """
        return network
