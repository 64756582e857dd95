"""The two sides: a frozen teacher without gradients, and a student that is trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from i2ikd.errors import UserError
from i2ikd.network import Student, Teacher, apply, to_memory_format
from i2ikd.sample import Batch


class Network(nn.Module):
    """Something that behaves differently in training, takes a condition, and has a frozen part."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3, padding=1)
        self.normalisation = nn.BatchNorm2d(2)
        self.last = nn.Conv2d(2, 1, 1)
        self.last.weight.requires_grad_(False)

    def forward(self, input: Tensor, gain: Tensor | None = None) -> Tensor:
        features = self.last(self.normalisation(self.convolution(input)).relu())
        return features if gain is None else features * gain[:, None, None, None]


@pytest.fixture
def network() -> Network:
    torch.manual_seed(6)
    return Network()


def batch(**conditions: Tensor) -> Batch:
    generator = torch.Generator().manual_seed(1)
    shape = (2, 1, 6, 5)
    return Batch(torch.randn(shape, generator=generator), torch.randn(shape, generator=generator), conditions)


class TestToMemoryFormat:
    def test_kernels_of_two_dimensions_get_the_format_and_others_stay(self) -> None:
        network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv3d(1, 1, 3), nn.Linear(2, 2))
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        parameters = list(network.parameters())
        assert to_memory_format(network, "cpu", torch.channels_last) is network
        assert network[0].weight.stride() == (18, 1, 6, 2)
        assert network[1].weight.is_contiguous()
        assert all(a is b for a, b in zip(network.parameters(), parameters)), "an optimiser may hold them"
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())

    def test_a_kernel_of_one_channel_passes_the_format_on(self) -> None:
        network = to_memory_format(nn.Sequential(nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3)), "cpu", torch.channels_last)
        features = network[0](torch.randn(2, 1, 9, 9))
        assert features.is_contiguous(memory_format=torch.channels_last)


class TestApply:
    def test_conditions_go_in_by_name(self, network: Network) -> None:
        gain = torch.tensor([2.0, 3.0])
        plain, scaled = apply(network.eval(), batch()), apply(network.eval(), batch(gain=gain))
        torch.testing.assert_close(scaled, plain * gain.reshape(2, 1, 1, 1))

    @pytest.mark.parametrize(
        ("output", "message"),
        [
            (lambda x: x[:, 0], r"must return an image \[B, C, H, W\], not \(2, 6, 5\)"),
            (lambda x: (x, x), r"must return an image \[B, C, H, W\], not a tuple"),
            (lambda x: x[..., :4], r"returns \(2, 1, 6, 4\) for a target of \(2, 1, 6, 5\)"),
            (lambda x: x.repeat(1, 3, 1, 1), r"returns \(2, 3, 6, 5\) for a target of \(2, 1, 6, 5\)"),
        ],
    )
    def test_what_is_no_image_of_the_target_s_shape_is_refused(self, output: Any, message: str) -> None:
        class Wrong(nn.Module):
            def forward(self, input: Tensor) -> Any:
                return output(input)

        with pytest.raises(UserError, match=f"^Wrong {message}"):
            apply(Wrong(), batch())


class TestTeacher:
    def test_runs_in_eval_mode_and_gets_its_flags_back(self, network: Network) -> None:
        network.train()
        network.normalisation.eval()
        flags = [module.training for module in network.modules()]
        with Teacher(network) as teacher:
            assert not any(module.training for module in network.modules())
            teacher(batch())
        assert [module.training for module in network.modules()] == flags
        assert True in flags
        assert False in flags

    def test_learns_nothing_from_what_it_sees(self, network: Network) -> None:
        network.train()
        before = {name: value.clone() for name, value in network.state_dict().items()}
        with Teacher(network) as teacher:
            teacher(batch())
        assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())

    def test_records_no_gradient_in_output_or_taps(self, network: Network) -> None:
        with Teacher(network, ["convolution"]) as teacher:
            output = teacher(batch())
            features = teacher.features(["convolution"], output)
        assert not features.image().requires_grad
        assert not features.taps[0].requires_grad
        assert torch.is_grad_enabled()

    def test_leaves_requires_grad_as_it_was(self, network: Network) -> None:
        wanted = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
        with Teacher(network) as teacher:
            teacher(batch())
            assert {n: p.requires_grad for n, p in network.named_parameters()} == wanted
        assert {n: p.requires_grad for n, p in network.named_parameters()} == wanted
        assert set(wanted.values()) == {True, False}

    def test_gives_its_flags_back_after_a_failure(self, network: Network) -> None:
        network.train()
        with pytest.raises(UserError, match="of the teacher"):
            Teacher(network, ["no.such.module"])
        assert network.training
        with pytest.raises(RuntimeError, match="stop"), Teacher(network, ["convolution"]):
            raise RuntimeError("stop")
        assert network.training
        assert not network.convolution._forward_hooks


class TestStudent:
    def test_keeps_its_mode_and_its_gradients(self, network: Network) -> None:
        network.train()
        with Student(network, ["convolution"]) as student:
            output = student(batch())
            features = student.features(["convolution"], output)
            assert network.training
            (features.image().mean() + features.taps[0].mean()).backward()
        assert network.convolution.weight.grad is not None
        assert network.last.weight.grad is None

    def test_taps_hold_the_last_call_only(self, network: Network) -> None:
        with Student(network.eval(), ["convolution"]) as student:
            student(batch())
            second = batch()
            second.input = second.input + 1
            student(second)
            (tap,) = student.features(["convolution"], None).taps
        assert torch.equal(tap, network.convolution(second.input))

    def test_teacher_and_student_of_one_batch_do_not_disturb_each_other(self, network: Network) -> None:
        torch.manual_seed(7)
        pupil = Network().train()
        alone = pupil(batch().input).detach()
        with Teacher(network, ["convolution"]) as teacher, Student(pupil, ["convolution"]) as student:
            image = teacher(batch())
            output = student(batch())
            pair = teacher.features(["convolution"], image).taps + student.features(["convolution"], output).taps
        assert torch.equal(output, alone)
        assert not torch.equal(pair[0], pair[1])

    def test_errors_name_the_student(self, network: Network) -> None:
        with pytest.raises(UserError, match="of the student"):
            Student(network, ["convolutoin"])


def test_features_without_an_output_raise(network: Network) -> None:
    with Student(network, ["last"]) as student:
        student(batch())
        with pytest.raises(AssertionError, match="taps alone"):
            student.features(["last"], None).image()


def test_a_plain_one_argument_network_needs_no_wrapper_where_samples_have_conditions() -> None:
    batch = Batch(torch.rand(2, 1, 6, 5), torch.rand(2, 1, 6, 5), {"mask": torch.ones(2, 1, 6, 1)})
    plain = nn.Conv2d(1, 1, 3, padding=1)
    assert torch.equal(apply(plain, batch), plain(batch.input))


def test_a_network_gets_the_conditions_that_it_names() -> None:
    class Masked(nn.Module):
        def forward(self, input: Tensor, mask: Tensor) -> Tensor:
            return input * mask

    conditions = {"mask": torch.tensor([1.0, 0.0, 1.0]).view(1, 1, 3, 1), "kspace": torch.zeros(1)}
    batch = Batch(torch.rand(1, 1, 3, 4), torch.zeros(1, 1, 3, 4), conditions)
    assert torch.equal(apply(Masked(), batch), batch.input * conditions["mask"])


class TestWrappers:
    """``torch.compile`` and ``DataParallel`` accept any arguments; what counts is the network inside."""

    WRAPPERS = (nn.DataParallel, lambda network: torch.compile(network, backend="eager"))

    @pytest.mark.parametrize("wrap", WRAPPERS)
    def test_conditions_are_those_of_the_network_inside(self, network: Network, wrap: Any) -> None:
        network.eval()
        given = batch(gain=torch.tensor([2.0, 3.0]), other=torch.zeros(2))
        assert torch.equal(apply(wrap(network), given), apply(network, given))
        assert not torch.equal(apply(wrap(network), given), apply(wrap(network), batch()))

    @pytest.mark.parametrize("wrap", WRAPPERS)
    def test_taps_capture_features_of_every_pass(self, network: Network, wrap: Any) -> None:
        with Student(wrap(network), ["convolution"]) as student:
            for gain in (2.0, 3.0):
                given = batch(gain=torch.full((2,), gain))
                student(given)
                assert torch.equal(student.features(["convolution"], None).taps[0], network.convolution(given.input))

    @pytest.mark.parametrize("wrap", WRAPPERS)
    def test_a_wrapped_student_is_trained_in_place(self, network: Network, wrap: Any) -> None:
        before = network.convolution.weight.detach().clone()
        student = wrap(network)
        apply(student, batch(gain=torch.ones(2))).square().mean().backward()
        torch.optim.SGD(student.parameters(), 0.1).step()
        assert not torch.equal(before, network.convolution.weight)
