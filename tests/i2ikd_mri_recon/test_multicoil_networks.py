"""Networks for several coils: DC-CNN, VarNet and U-Net; their form, their definition, and pairs of their taps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from i2ikd_mri.coils.consistency import SenseConsistency
from i2ikd_mri.coils.maps import normalised
from i2ikd_mri_recon.network import DCCNN
from i2ikd_mri_recon.unet import UNet
from i2ikd_mri_recon.varnet import VarNet
from torch import Tensor, nn

import i2ikd
from i2ikd import Batch, SampleKey, Taps, UserError
from i2ikd.testing import check_model

SIZE = (24, 21)
DC_CNN = {"cascades": 2, "depth": 3, "channels": 4, "mode": "complex", "multicoil": True, "centered": True}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "dc-cnn gradient": ("dc-cnn", DC_CNN),
    "dc-cnn cg": ("dc-cnn", {**DC_CNN, "consistency": "cg", "steps": 2}),
    "varnet": ("varnet", {"cascades": 2, "channels": 4, "pools": 2}),
}
MODES = {"complex": 2, "real": 1}


def batch_of(mode: str = "complex", coils: int = 3, size: tuple[int, int] = SIZE) -> Batch:
    torch.manual_seed(11)
    maps = normalised(torch.randn(2, coils, *SIZE, dtype=torch.complex64))
    mask = (torch.rand(2, 1, 1, SIZE[1]) < 0.5).float()
    kspace = mask * torch.randn(2, coils, *SIZE, dtype=torch.complex64)
    image = torch.randn(2, MODES[mode], *size)
    keys = [SampleKey(volume="v", index=i) for i in range(2)]
    return Batch(image, image.clone(), {"kspace": kspace, "mask": mask, "maps": maps}, keys)


def create(name: str, **options: Any) -> nn.Module:
    model, own = NETWORKS[name]
    network: nn.Module = i2ikd.create("model", model, **{**own, **options})
    return network


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_conforms_in_either_mode(name: str, mode: str) -> None:
    check_model(lambda: create(name, mode=mode), batch_of(mode))


@pytest.mark.parametrize("mode", MODES)
def test_the_u_net_conforms_in_either_mode_and_for_odd_sizes(mode: str) -> None:
    check_model(lambda: i2ikd.create("model", "unet", channels=4, pools=3, mode=mode), batch_of(mode))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_output_has_the_size_of_the_input_and_is_the_centre_of_the_whole_image(name: str) -> None:
    network = create(name)
    whole, part = batch_of(), batch_of(size=(18, 16))
    large = network(whole.input, **whole.conditions)
    small = network(part.input, **part.conditions)
    assert torch.equal(small, large[..., 3:21, 2:18])
    magnitude = create(name, mode="real")
    magnitude.load_state_dict(network.state_dict())
    found = magnitude(whole.input[:, :1], **whole.conditions)
    torch.testing.assert_close(found, torch.linalg.vector_norm(large, dim=1, keepdim=True))


def test_one_coil_of_map_1_is_the_single_coil_dc_cnn() -> None:
    batch = batch_of(coils=1)
    batch.conditions["maps"] = torch.ones_like(batch.conditions["maps"])
    single = DCCNN(2, 3, 4, residual=True, mode="complex", centered=True)
    for options in ({}, {"consistency": "cg", "steps": 1}):
        several = DCCNN(2, 3, 4, residual=True, mode="complex", centered=True, multicoil=True, **options)
        several.load_state_dict(single.state_dict(), strict=False)
        image = several(batch.input, **batch.conditions)
        start = torch.view_as_real(_zero_filled(batch)[:, 0]).movedim(-1, 1).contiguous()
        conditions = {name: batch.conditions[name] for name in ("kspace", "mask")}
        torch.testing.assert_close(image, single(start, **conditions), rtol=0, atol=1e-5)


def _zero_filled(batch: Batch) -> Tensor:
    kspace, maps = batch.conditions["kspace"], batch.conditions["maps"]
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace.numpy(), (-2, -1)), norm="ortho"), (-2, -1))
    return (maps.conj() * torch.from_numpy(images.astype(np.complex64))).sum(1, keepdim=True)


def test_a_new_varnet_is_gradient_descent_and_a_new_u_net_returns_its_input() -> None:
    batch, network = batch_of(), create("varnet")
    for cascade in network.cascades:
        nn.init.constant_(cascade.consistency.weight, 0.7)
        assert torch.equal(cascade.refinement(batch.input), batch.input)
    x = _zero_filled(batch)
    start = x.clone()
    for _ in range(2):
        seen = batch.conditions["maps"] * x
        axes = (-2, -1)
        kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(seen.numpy(), axes), norm="ortho"), axes)
        measured = Batch(batch.input, batch.target, {
            **batch.conditions,
            "kspace": batch.conditions["mask"] * torch.from_numpy(kspace.astype(np.complex64)),
        })  # fmt: skip
        x = x + 0.7 * (start - _zero_filled(measured))
    expected = torch.view_as_real(x[:, 0]).movedim(-1, 1)
    found = network(batch.input, **batch.conditions).detach()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_data_consistency_stays_in_single_precision_under_autocast(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dtypes: set[torch.dtype] = set()
    original = torch.fft.fftn

    def spy(tensor: Tensor, **options: Any) -> Tensor:
        dtypes.add(tensor.dtype)
        return original(tensor, **options)

    monkeypatch.setattr(torch.fft, "fftn", spy)
    batch, network = batch_of(), create(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(batch.input, **batch.conditions)
    assert dtypes == {torch.complex64} and output.dtype == torch.float32


def test_the_u_net_scales_with_its_input_and_ignores_its_mean() -> None:
    network = UNet(4, 2, mode="complex")
    nn.init.normal_(network.head.weight)
    image = torch.randn(2, 2, *SIZE)
    torch.testing.assert_close(network(5 * image), 5 * network(image), rtol=1e-3, atol=1e-3)
    offset = torch.tensor([3.0, -2.0]).reshape(2, 1, 1)
    torch.testing.assert_close(network(image + offset), network(image) + offset, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda b: DCCNN(1, 2, 4)(b.input[:, :1], **b.conditions),
            r"single-coil k-space .* got 3 coils; set multicoil",
        ),
        (
            lambda b: VarNet(1, 4, 1)(b.input, kspace=b.conditions["kspace"], mask=b.conditions["mask"]),
            "condition maps",
        ),
        (lambda b: VarNet(1, 4, 1)(b.input[:, :1], **b.conditions), r"varnet: expected an input with 2 channel\(s\)"),
        (lambda b: UNet(4, 2)(b.input), r"unet: expected images with 1 channel\(s\)"),
        (lambda b: UNet(4, 4, mode="complex")(b.input), "of at least 32 x 32 pixels, got"),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable[[Batch], Tensor], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call(batch_of())


@pytest.mark.parametrize(
    ("name", "teacher", "student", "expected"),
    [
        ("varnet-dc-cnn", VarNet(2, 4, 2), DCCNN(2, 3, 4, mode="complex", multicoil=True), [
            (f"cascades.{k}.refinement.decoder.1", f"cascades.{k}.layers.1") for k in range(2)]),
        ("varnet", VarNet(4, 4, 3), VarNet(2, 4, 1), [
            (f"cascades.{t}.refinement.decoder.2", f"cascades.{s}.refinement.decoder.0") for t, s in ((1, 0), (3, 1))]),
        ("unet", UNet(4, 3), UNet(4, 2), [("decoder.2", "decoder.1")]),
        ("unet-dc-cnn", UNet(4, 2, mode="complex"), DCCNN(3, 2, 4, mode="complex", multicoil=True), [
            ("decoder.1", "cascades.2.layers.0")]),
        ("varnet-dc-cnn-images", VarNet(1, 4, 2), DCCNN(3, 2, 4, mode="complex", multicoil=True), [
            ("cascades.0", "cascades.2")]),
        ("varnet-dc-cnn-blocks", VarNet(2, 4, 2), DCCNN(2, 2, 4, mode="complex", multicoil=True), [
            (f"cascades.{k}", f"cascades.{k}") for k in range(2)]),
    ],
)  # fmt: skip
def test_pairs_are_features_of_the_size_of_the_image(
    name: str, teacher: nn.Module, student: nn.Module, expected: list[tuple[str, str]]
) -> None:
    assert i2ikd.get("pairs", name)(teacher, student) == expected
    batch = batch_of("real" if name == "unet" else "complex")
    for network, paths in zip((teacher, student), zip(*expected)):
        with Taps(network, paths) as taps:
            i2ikd.network.apply(network, batch)
            assert {tuple(tap.shape[-2:]) for tap in taps.take(paths)} == {SIZE}


def test_cascades_of_a_varnet_and_a_dc_cnn_have_one_interface() -> None:
    batch = batch_of()
    teacher, student = VarNet(2, 4, 2), DCCNN(2, 3, 4, mode="complex", centered=True, multicoil=True)
    student.cascades[0] = teacher.cascades[0]
    assert student(batch.input, **batch.conditions).shape == batch.target.shape
    assert isinstance(student.cascades[1].consistency, SenseConsistency)
