"""The training context of an experiment's runs, with the networks and caches of their inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from i2ikd.callback import Callback, NullCallback
from i2ikd.engine.batches import SampleBatches
from i2ikd.engine.build import build_network
from i2ikd.engine.context import TrainingContext
from i2ikd.engine.run import Run, train_runs
from i2ikd.engine.teacher_cache.cache import TeacherCache
from i2ikd.engine.teacher_cache.disk import DiskCache
from i2ikd.engine.teacher_cache.key import CacheKey
from i2ikd.experiment.graph import RunGraph
from i2ikd.experiment.networks import left_network, load_input
from i2ikd.network import to_memory_format
from i2ikd.objective import Side


class RunTrainer:
    """Trains runs of one experiment; the caches of input networks' outputs live as long as it does.

    Args:
        graph: of the experiment's runs.
    """

    def __init__(self, graph: RunGraph) -> None:
        self._graph = graph
        self._context = graph.context
        self._caches: dict[tuple[str, ...], TeacherCache] = {}

    def train(self, runs: Sequence[Run], callback: Callback | None = None) -> None:
        """Train runs of one seed in one pass, continuing from their checkpoints; finished ones are left alone.

        Args:
            runs: whose inputs, where two have the same role, are the same.
            callback: receives the events of training.

        Raises:
            Interrupted: after checkpoints were saved.
            UserError: an error of the loop, or an input that is not finished.
        """
        self._context.remember_precision()
        inputs = {role: found for run in runs for role, found in run.inputs.items()}
        combine = {role: reference for run in runs for role, reference in run.specification.combine.items()}
        networks = {
            role: load_input(self._context.registry, found, combine.get(role)) for role, found in inputs.items()
        }
        train_runs(runs, self.context(runs[0].specification.seed, inputs, networks, callback))

    def context(
        self,
        seed: int,
        inputs: Mapping[str, tuple[Run, ...]] | None = None,
        networks: Mapping[str, nn.Module] | None = None,
        callback: Callback | None = None,
    ) -> TrainingContext:
        """Return the shared state of runs of one seed.

        Args:
            seed: of the order of samples.
            inputs: runs of the input networks, by role.
            networks: the input networks, by role.
            callback: receives the events of training.
        """
        context, inputs = self._context, inputs or {}
        pin = context.device.type == "cuda"
        batches = SampleBatches(context.dataset("train"), context.training.batch, seed, context.training.workers, pin)

        def build(side: Side) -> nn.Module:
            model, options = self._graph.side(side)
            return build_network(context.registry, model, options, seed, side).to(context.device)

        def left(role: str, name: str) -> nn.Module:
            side: Side = "teacher" if name == "teacher" else "student"
            specification = inputs[role][0].specification
            if side != specification.side:
                return left_network(context, inputs[role], name, build(side))
            network = build_network(context.registry, specification.model, specification.options, seed, role)
            return left_network(context, inputs[role], name, network.to(context.device))

        return TrainingContext(
            registry=context.registry,
            task=context.task,
            batches=batches,
            validation=context.validation,
            device=context.device,
            precision=context.precision,
            inputs={role: to_memory_format(network, context.device) for role, network in (networks or {}).items()},
            models=self._graph.models(inputs),
            pairs=context.experiment.pairs,
            caches={role: self._cache(runs) for role, runs in inputs.items()},
            left_networks=left,
            build=build,
            group=context.group,
            callback=callback or NullCallback(),
        )

    def _cache(self, runs: Sequence[Run]) -> TeacherCache:
        """Return the cache of an input's outputs, one for all arms; on disk, for other processes on the folder too."""
        digests = tuple(run.specification.digest for run in runs)
        if digests not in self._caches:
            context, training = self._context, self._context.training
            disk = None
            if training.cache_disk_mib > 0:
                depends_on = {"task": context.identity, "network": list(digests)}
                key = CacheKey(context.dataset("train"), depends_on, [type(context.task)])
                disk = DiskCache(context.store.root / "cache", training.cache_disk_mib, key)
            self._caches[digests] = TeacherCache(training.cache_mib, disk)
        return self._caches[digests]
