"""Outputs of the frozen input networks during training: from their caches, or from at most one run each per batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from i2ikd.distiller import Knowledge
from i2ikd.engine.teacher_cache.cache import TeacherCache
from i2ikd.network import Autocast, Observed, Teacher
from i2ikd.objective import TeacherOutputs, TeacherRequest
from i2ikd.sample import Batch


class TeacherRunner:
    """Runs every input network at most once per batch, for all requests that its cache does not hold.

    A network is run no further than to its last tap if no request uses its output.

    Args:
        inputs: frozen networks by role.
        requests: of all runs of the loop.
        caches: by role.
        device: of the batches.
        autocast: makes the context manager under which the networks run.
    """

    def __init__(
        self,
        inputs: Mapping[str, nn.Module],
        requests: Iterable[TeacherRequest],
        caches: Mapping[str, TeacherCache],
        device: torch.device,
        autocast: Autocast,
    ) -> None:
        self._caches = caches
        self._device = device
        paths: dict[str, list[str]] = {}
        self._whole: set[str] = set()
        for request in requests:
            if not self._cached(request):
                paths.setdefault(request.network, []).extend(request.paths)
                if request.uses_output or not request.paths:
                    self._whole.add(request.network)
        self._networks = {role: Teacher(inputs[role], wanted, autocast) for role, wanted in paths.items()}
        self._images: dict[str, Tensor] = {}

    def _cached(self, request: TeacherRequest) -> bool:
        return request.network in self._caches and self._caches[request.network].holds(request.key)

    def forward(self, batch: Batch) -> None:
        """Run the networks that are needed live on a batch."""
        for role, network in self._networks.items():
            if role in self._whole:
                self._images[role] = network(batch)
            else:
                network.run_to_last_tap(batch)

    def outputs(self, requests: Sequence[TeacherRequest], batch: Batch) -> TeacherOutputs:
        """Return the outputs of one objective's requests for the batch of the last ``forward``."""
        found: dict[str, Knowledge] = {}
        for request in requests:
            if self._cached(request):
                found[request.name] = self._caches[request.network].take(request.key, batch.keys, self._device)
            else:
                found[request.name] = extract(request, self._networks[request.network], self._images, batch)
        return found

    def release(self) -> None:
        """Free the features and images of the batch, so that they do not occupy memory during the last step."""
        for network in self._networks.values():
            network.release()
        self._images.clear()

    def close(self) -> None:
        """Remove the hooks from the networks."""
        for network in self._networks.values():
            network.close()


@torch.no_grad()
def extract(request: TeacherRequest, network: Observed, images: Mapping[str, Tensor], batch: Batch) -> Knowledge:
    """Compute a request's outputs from a network that was just run on the batch."""
    return request.extract(network.features(request.paths, images.get(request.network)), batch)
