"""What the settings of ``[training]`` do: optimiser, schedule, clipping, average, selection, precision, seeds."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

import i2ikd
from i2ikd import UserError
from i2ikd.callback import NullCallback
from i2ikd.config import Training
from i2ikd.engine.optimiser import make_optimiser, set_rate
from i2ikd.engine.run import load_network
from i2ikd.experiment.checks import check
from i2ikd.experiment.training import RunTrainer


def rates(epochs: int, **settings: Any) -> list[float]:
    """The learning rate of every epoch."""
    training = Training(**settings)
    optimiser = make_optimiser([nn.Parameter(torch.zeros(2))], training)
    found = []
    for epoch in range(epochs):
        set_rate(optimiser, training, epochs, epoch)
        found.append(optimiser.param_groups[0]["lr"])
    return found


class TestSchedules:
    def test_step_multiplies_every_few_epochs(self) -> None:
        expected = [2e-3 * 0.1 ** (epoch // 3) for epoch in range(8)]
        assert rates(8, lr=2e-3, schedule="step", decay_epochs=3) == pytest.approx(expected)

    def test_cosine_falls_to_the_least(self) -> None:
        expected = [1e-4 + 0.5 * (1e-2 - 1e-4) * (1 + math.cos(math.pi * epoch / 7)) for epoch in range(7)]
        assert rates(7, lr=1e-2, schedule="cosine", min_lr=1e-4) == pytest.approx(expected)

    def test_constant_stays(self) -> None:
        assert rates(4, lr=5e-3, schedule="constant") == [5e-3] * 4

    @pytest.mark.parametrize("warmup", [0, 3])
    @pytest.mark.parametrize("schedule", ["step", "cosine"])
    def test_rates_are_those_of_timm(self, schedule: str, warmup: int) -> None:
        settings = {"decay_rate": 0.3, "min_lr": 1e-4, "warmup_epochs": warmup}
        optimiser = torch.optim.Adam([nn.Parameter(torch.zeros(2))], lr=1e-2)
        theirs, _ = create_scheduler_v2(
            optimiser, sched=schedule, num_epochs=11, decay_epochs=4, warmup_lr=1e-3, **settings
        )
        expected = []
        for epoch in range(11):
            expected.append(optimiser.param_groups[0]["lr"])
            theirs.step(epoch + 1)
        found = rates(11, lr=1e-2, schedule=schedule, decay_epochs=4, **settings)
        assert found == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
    def test_warmup_rises_from_a_tenth(self, schedule: str) -> None:
        found = rates(9, lr=1e-2, schedule=schedule, warmup_epochs=3)
        assert found[:3] == pytest.approx([1e-3, 4e-3, 7e-3])
        assert found[3] == pytest.approx(rates(9, lr=1e-2, schedule=schedule)[3])

    def test_the_history_has_the_rate_of_each_epoch(self, laboratory: Any) -> None:
        graph = laboratory.graph(
            "training.schedule=step", "training.decay_epochs=2", "training.epochs=5", "training.lr=0.01"
        )
        history = laboratory.train(graph, "student").folder.read("history")
        assert [row["lr"] for row in history] == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3, 1e-4])


class TestOptimisers:
    @pytest.mark.parametrize("name", ["adam", "sgd", "adamw", "lion", "nadam", "lamb"])
    def test_a_name_of_timm_makes_that_optimiser(self, name: str) -> None:
        optimiser = make_optimiser([nn.Parameter(torch.ones(3, 2))], Training(optimizer=name, lr=0.02))
        assert name in type(optimiser).__name__.lower()
        assert optimiser.param_groups[0]["lr"] == 0.02

    @pytest.mark.parametrize("name", ["adam", "adamw"])
    def test_torch_s_own_are_what_timm_makes(self, name: str) -> None:
        weights = [{"params": [nn.Parameter(torch.zeros(2))]}]
        theirs = create_optimizer_v2(weights, opt=name, lr=0.03, weight_decay=0.2)
        ours = make_optimiser(weights[0]["params"], Training(optimizer=name, lr=0.03, weight_decay=0.2))
        assert type(ours) is type(theirs)
        assert ours.param_groups[0] == theirs.param_groups[0] | {"fused": True}

    @pytest.mark.parametrize("name", ["adam", "adamw"])
    def test_torch_s_own_take_complex_parameters(self, name: str) -> None:
        weight = nn.Parameter(torch.ones(2, dtype=torch.complex64))
        optimiser = make_optimiser([weight], Training(optimizer=name, lr=0.1, weight_decay=0))
        (weight * (1 + 1j)).real.sum().backward()
        optimiser.step()
        torch.testing.assert_close(weight.detach(), torch.tensor([0.9 + 0.1j, 0.9 + 0.1j]))

    def test_adam_without_decay_makes_the_steps_of_torch(self) -> None:
        torch.manual_seed(3)
        ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
        theirs.load_state_dict(ours.state_dict())
        inputs = torch.randn(7, 4, 5)
        for network, optimiser in (
            (ours, make_optimiser(ours.parameters(), Training(lr=3e-3))),
            (theirs, torch.optim.Adam(theirs.parameters(), lr=3e-3)),
        ):
            for batch in inputs:
                optimiser.zero_grad()
                network(batch).square().mean().backward()
                optimiser.step()
        assert torch.allclose(ours.weight, theirs.weight, atol=1e-7)

    def test_weight_decay_is_passed_on(self) -> None:
        weight = nn.Parameter(torch.tensor([2.0]))
        weight.grad = torch.zeros(1)
        make_optimiser([weight], Training(optimizer="adamw", lr=0.1, weight_decay=0.5)).step()
        assert float(weight.detach()) == pytest.approx(2 * (1 - 0.1 * 0.5))

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("adm", r"training\.optimizer = 'adm' is unknown; did you mean 'adam'\?"),
            ("adahessian", "needs second derivatives"),
            ("fusedadam", "'fusedadam' cannot be constructed: .*; try 'adamw'"),
        ],
    )
    def test_one_that_cannot_work_is_refused(self, name: str, message: str) -> None:
        if name == "fusedadam" and torch.cuda.is_available():
            pytest.skip("it may work here")
        with pytest.raises(UserError, match=message):
            make_optimiser([nn.Parameter(torch.zeros(2))], Training(optimizer=name))

    def test_one_of_a_later_stage_is_refused_before_any_training(self, laboratory: Any, optimiser_steps: Any) -> None:
        stage = {"name": "a", "terms": [{"distiller": "target"}], "training": {"optimizer": "adamm"}}
        graph = laboratory.graph(arms=[{"name": "arm", "recipe": "custom", "stages": [stage]}])
        with pytest.raises(UserError, match="did you mean 'adam"):
            check(graph, graph.context.experiment.arms)
        assert optimiser_steps.count == 0


def gradient_norms(laboratory: Any, *overrides: str, arm: str = "student", arms: Any = None) -> list[float]:
    """The norm of the gradient that each optimiser step saw."""
    norms: list[float] = []

    def note(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        grads = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.linalg.vector_norm(torch.cat([g.flatten() for g in grads]))))

    handle = register_optimizer_step_pre_hook(note)
    laboratory.train(laboratory.graph(*overrides, arms=arms, out="+".join(overrides) or "plain"), arm)
    handle.remove()
    return norms


def test_clipping_bounds_the_gradient(laboratory: Any) -> None:
    free = gradient_norms(laboratory)
    limit = sorted(free)[1] * 0.9
    clipped = gradient_norms(laboratory, f"training.clip_grad={limit}")
    assert max(clipped) <= limit * (1 + 1e-4) < max(free)
    assert clipped[0] == pytest.approx(min(free[0], limit), rel=1e-4)


def test_clipping_includes_the_parameters_of_the_method(laboratory: Any) -> None:
    stage = {"name": "a", "terms": [{"distiller": "fitnet", "pairs": [["cascades.0", "cascades.0.layers.0"]]}]}
    arms = [{"name": "arm", "recipe": "custom", "stages": [stage]}]
    teacher = "teacher.training={lr=1e-12, optimizer='sgd'}"  # its gradients are those of the free teacher
    free = gradient_norms(laboratory, teacher, arm="arm", arms=arms)
    limit = sorted(free)[1] * 0.9
    clipped = gradient_norms(laboratory, teacher, f"training.clip_grad={limit}", arm="arm", arms=arms)
    assert max(clipped) <= limit * (1 + 1e-4) < max(free)


class TestAverage:
    def test_the_result_is_the_moving_average_of_the_weights(self, laboratory: Any) -> None:
        class Collect(NullCallback):
            network: nn.Module
            states: ClassVar[list[dict[str, Tensor]]] = []

            def on_step_end(self) -> None:
                self.states.append({n: t.detach().clone() for n, t in self.network.state_dict().items()})

        class Probe:
            @i2ikd.hookimpl
            def run_started(self, context: Any) -> None:
                collected.network = context.network

        collected = Collect()
        settings = ("training.ema=0.7", "training.select=last", "training.epochs=3")
        run = laboratory.train(laboratory.graph(*settings, plugins=(Probe(),)), "student", callback=collected)
        assert len(collected.states) == 6
        average = collected.states[0]
        for state in collected.states[1:]:
            average = {name: 0.7 * average[name] + 0.3 * state[name] for name in state}
        for name, tensor in laboratory.weights(run).items():
            assert torch.allclose(tensor, average[name], atol=1e-6), name
            assert not torch.equal(tensor, collected.states[-1][name]), name

    def test_it_is_what_is_validated(self, laboratory: Any) -> None:
        settings = ["training.select=last", "training.epochs=1", "training.validate_every=1"]
        graph = laboratory.graph("training.ema=0.9", *settings)
        run = laboratory.train(graph, "student")
        (row,) = run.folder.read("history")
        assert RunTrainer(graph).context(0).validation_loss(
            load_network(graph.context.registry, run.folder)
        ) == pytest.approx(row["validation"], rel=1e-6)


class Setback:
    """Wipes the weights out when the last epoch of a stage starts, so that the best are not the last."""

    @i2ikd.hookimpl
    def epoch_started(self, context: Any) -> None:
        if context.epoch == 3:
            with torch.no_grad():
                for parameter in context.stage.run.network.parameters():
                    parameter.zero_()


class TestSelection:
    SETTINGS = ("training.epochs=4", "training.lr=1e-3", "training.validate_every=1")

    def losses(self, laboratory: Any, select: str) -> tuple[list[float], float]:
        """The validation losses of the epochs, and that of the result."""
        graph = laboratory.graph(f"training.select={select}", *self.SETTINGS, plugins=(Setback(),))
        run = laboratory.train(graph, "student")
        history = [row["validation"] for row in run.folder.read("history")]
        assert history[3] > min(history)
        return history, RunTrainer(graph).context(0).validation_loss(load_network(graph.context.registry, run.folder))

    def test_best_hands_on_the_weights_of_the_least_validation_loss(self, laboratory: Any) -> None:
        history, result = self.losses(laboratory, "best")
        assert result == pytest.approx(min(history), rel=1e-6)

    def test_last_hands_on_the_last(self, laboratory: Any) -> None:
        history, result = self.losses(laboratory, "last")
        assert result == pytest.approx(history[-1], rel=1e-6)

    def test_the_next_stage_starts_from_the_best(self, laboratory: Any) -> None:
        stage = {"terms": [{"distiller": "target"}]}
        stages = [{"name": "a", **stage}, {"name": "b", "epochs": 1, "training": {"lr": 1e-9}, **stage}]
        arms = [{"name": "arm", "recipe": "custom", "stages": stages}]
        graph = laboratory.graph(*self.SETTINGS, arms=arms, plugins=(Setback(),))
        history = [row["validation"] for row in laboratory.train(graph, "arm").folder.read("history")]
        assert history[4] == pytest.approx(min(history[:4]), rel=1e-4)
        assert history[3] > min(history[:4])

    def test_a_validation_loss_that_is_not_finite_is_refused(self, laboratory: Any) -> None:
        class Overflow:
            @i2ikd.hookimpl
            def epoch_started(self, context: Any) -> None:
                if context.epoch == 1:
                    context.stage.run.network.register_forward_hook(
                        lambda module, _, output: output if module.training else output * math.nan
                    )

        graph = laboratory.graph("training.validate_every=1", plugins=(Overflow(),))
        with pytest.raises(UserError, match="'validation' became nan in epoch 1"):
            laboratory.train(graph, "student")


@pytest.mark.parametrize(("every", "validated"), [(1, [0, 1, 2, 3, 4]), (2, [1, 3, 4]), (3, [2, 4]), (9, [4])])
def test_validation_comes_every_few_epochs_and_at_the_end(every: int, validated: list[int], laboratory: Any) -> None:
    graph = laboratory.graph(f"training.validate_every={every}", "training.epochs=5")
    history = laboratory.train(graph, "student").folder.read("history")
    assert [row["epoch"] for row in history if row["validation"] is not None] == validated


def test_by_default_validation_costs_at_most_a_tenth_of_the_training(laboratory: Any) -> None:
    """Forward passes: one a validation slice, three a training slice (forward and backward)."""
    for train, val in ((4, 1), (1, 3), (20, 1)):
        graph = laboratory.graph(f"task.dataset.train={train}", f"task.dataset.val={val}")
        every = graph.teacher_run(0).stages[0].training.validate_every
        assert val / every <= 0.1 * 3 * train
        assert every == 1 or val / (every - 1) > 0.1 * 3 * train, "and not more seldom than that needs"


def test_validation_keeps_no_features(laboratory: Any) -> None:
    """Taps on the student are off while it is validated, or the features of a whole split would pile up."""
    hooked: list[bool] = []

    class Probe:
        @i2ikd.hookimpl
        def run_started(self, context: Any) -> None:
            tapped = context.network.cascades[0].layers[1]
            context.network.register_forward_hook(
                lambda module, *_: hooked.append(bool(tapped._forward_hooks)) if not module.training else None
            )
            context.network.register_forward_hook(
                lambda module, *_: trained.append(bool(tapped._forward_hooks)) if module.training else None
            )

    trained: list[bool] = []
    arms = [{"name": "arm", "recipe": "joint"}]
    graph = laboratory.graph("training.validate_every=1", arms=arms, plugins=(Probe(),))
    hooked.clear()
    trained.clear()
    laboratory.train(graph, "arm")
    assert trained[-4:] == [True] * 4
    assert hooked[-1] is False


class TestPrecision:
    class Spy:
        """Terms that note in which precision they compute."""

        def __init__(self) -> None:
            self.seen: list[tuple[Any, ...]] = []

        @i2ikd.hookimpl
        def register_distillers(self, register: Any) -> None:
            seen = self.seen

            class Watched(i2ikd.Distiller):
                uses_taps = False

                def knowledge(self, teacher: Any, batch: Any) -> Any:
                    return {"image": teacher.image().float()}

                def forward(self, student: Any, knowledge: Any, batch: Any) -> Any:
                    loss = (student.image().float() - knowledge["image"]).abs().mean()
                    seen.append((torch.is_autocast_enabled("cpu"), student.image().dtype, loss.dtype))
                    return loss

            register("watched", Watched)

    PLAIN = tuple(
        f"{side}={{model='plain-cnn', depth=3, channels=4, residual=false}}" for side in ("teacher", "student")
    )
    ARMS: ClassVar = [{"name": "arm", "recipe": "joint", "distiller": "watched"}]

    def test_bf16_is_for_convolutions_alone(self, laboratory: Any) -> None:
        spy = self.Spy()
        changes = ("training.precision=bf16", *self.PLAIN)
        run = laboratory.train(laboratory.graph(*changes, arms=self.ARMS, plugins=(spy,)), "arm")
        assert set(spy.seen) == {(False, torch.bfloat16, torch.float32)}, "(inside autocast, image, loss)"
        assert {tensor.dtype for tensor in laboratory.weights(run).values()} == {torch.float32}
        exact = laboratory.train(laboratory.graph(*self.PLAIN, arms=self.ARMS, plugins=(self.Spy(),)), "arm")
        assert exact.folder != run.folder
        losses = [r.folder.read("history")[-1]["losses"]["target"] for r in (run, exact)]
        assert losses[0] != losses[1], "the convolutions did round"
        assert losses[0] == pytest.approx(losses[1], rel=0.1)

    def test_auto_is_measured_once_a_folder(self, laboratory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        name = "i2ikd.experiment.context.resolve_precision"
        monkeypatch.setattr(name, lambda wanted, device: "bf16" if wanted == "auto" else wanted)
        first = laboratory.train(laboratory.graph("training.precision=auto"), "student")
        monkeypatch.setattr(name, lambda wanted, device: "fp32")
        again = laboratory.graph("training.precision=auto")
        assert again.context.precision == "bf16"
        assert again.arm_run(again.context.experiment.arms[0], 0).folder == first.folder
        assert laboratory.graph("training.precision=auto", out="elsewhere").context.precision == "fp32"


class TestSeeds:
    def test_one_seed_gives_the_same_bits(self, laboratory: Any, identical: Any) -> None:
        arms = [{"name": "arm", "recipe": "joint", "distiller": "generation"}]
        runs = [laboratory.train(laboratory.graph(arms=arms, out=out), "arm") for out in ("a", "b")]
        assert runs[0].folder.read("history") == runs[1].folder.read("history")
        assert identical(*map(laboratory.weights, runs))

    def test_whatever_was_drawn_before(self, laboratory: Any, identical: Any) -> None:
        first = laboratory.train(laboratory.graph(out="a"), "kd-mri")
        torch.manual_seed(99)
        torch.rand(17)
        second = laboratory.train(laboratory.graph(out="b"), "kd-mri")
        assert identical(laboratory.weights(first), laboratory.weights(second))

    def test_workers_that_read_data_change_nothing(self, laboratory: Any, identical: Any) -> None:
        augmentations = 'training.augmentations=["flip", "shift"]'
        first = laboratory.train(laboratory.graph(augmentations, out="a"), "student")
        second = laboratory.train(laboratory.graph(augmentations, "training.workers=1", out="b"), "student")
        assert first.specification == second.specification
        assert identical(laboratory.weights(first), laboratory.weights(second))

    def test_other_seeds_differ_in_weights_and_order(self, laboratory: Any, identical: Any) -> None:
        graph = laboratory.graph("seeds=[0, 1]")
        first, second = (laboratory.train(graph, "student", seed=seed) for seed in (0, 1))
        assert not identical(laboratory.weights(first), laboratory.weights(second))
        orders = [[b.keys for b in RunTrainer(graph).context(seed).batches.epoch(0)] for seed in range(4)]
        assert any(order != orders[0] for order in orders[1:])

    def test_an_epoch_shows_every_slice_once(self, laboratory: Any) -> None:
        batches = RunTrainer(laboratory.graph("training.batch=3", "task.dataset.slices=5")).context(0).batches
        assert (batches.steps, batches.size) == (3, 3)
        for number in range(3):
            keys = [key for batch in batches.epoch(number) for key in batch.keys]
            assert len(keys) == len(set(keys)) == 9, "the tenth would make a batch of one"
        whole = [key for batch in batches.epoch(2) for key in batch.keys]
        assert [key for batch in batches.epoch(2, skip=2) for key in batch.keys] == whole[6:]
