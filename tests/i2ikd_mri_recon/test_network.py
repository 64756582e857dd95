"""DC-CNN equals a naive loop in NumPy in every mode, also with taps."""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal

import numpy as np
import pytest
import torch
from i2ikd_mri_recon.network import DCCNN
from torch import Tensor, nn

import i2ikd
from i2ikd import Batch, Taps, UserError
from i2ikd.evaluation.profile import count_macs

Mode = Literal["real", "complex"]


def _convolve(image: np.ndarray, layer: nn.Module) -> np.ndarray:
    """Correlate [C, H, W] with zero padding, one weight at a time."""
    weight, bias = (p.detach().numpy() for p in (layer.weight, layer.bias))
    reach = weight.shape[-1] // 2
    padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach)))
    height, width = image.shape[1:]
    result = np.zeros((len(weight), height, width)) + bias[:, None, None]
    for o, c, u, v in np.ndindex(*weight.shape):
        result[o] += weight[o, c, u, v] * padded[c, u : u + height, v : v + width]
    return result


def _naive(network: DCCNN, image: np.ndarray, kspace: np.ndarray, mask: np.ndarray, residual: bool) -> np.ndarray:
    """One sample: image [C, H, W], k-space [H, W], mask [H, 1], [1, W] or [H, W], all in float64."""
    shift, unshift = (np.fft.fftshift, np.fft.ifftshift) if network.consistency.centered else (np.asarray,) * 2
    for cascade in network.cascades:
        features = image
        for index, layer in enumerate(cascade.layers):
            features = _convolve(features, layer.convolution)
            if index < len(cascade.layers) - 1:
                features = np.maximum(features, 0)
        image = image + features if residual else features
        whole = image[0] if len(image) == 1 else image[0] + 1j * image[1]
        spectrum = shift(np.fft.fft2(unshift(whole), norm="ortho"))
        whole = shift(np.fft.ifft2(unshift(mask * kspace + (1 - mask) * spectrum), norm="ortho"))
        image = whole.real[None] if len(image) == 1 else np.stack([whole.real, whole.imag])
    return image


def _case(mode: Mode, kind: str, size: tuple[int, int]) -> tuple[Tensor, dict[str, Tensor]]:
    random = torch.Generator().manual_seed(5)
    shape = {"rows": (size[0], 1), "columns": (1, size[1]), "plane": size}[kind]
    image = torch.randn(2, 1 if mode == "real" else 2, *size, dtype=torch.float64, generator=random)
    kspace = torch.randn(2, 1, *size, dtype=torch.complex128, generator=random)
    mask = (torch.rand(2, 1, *shape, generator=random) < 0.4).double()
    return image, {"kspace": kspace, "mask": mask}


CASES = list(
    itertools.product(["real", "complex"], ["rows", "columns", "plane"], [False, True], [False, True], [(7, 9), (8, 5)])
)


@pytest.mark.parametrize(("mode", "kind", "residual", "centered", "size"), CASES)
def test_it_equals_a_naive_loop(mode: Mode, kind: str, residual: bool, centered: bool, size: tuple[int, int]) -> None:
    torch.manual_seed(2)
    network = DCCNN(2, 3, 4, 5 if kind == "rows" else 3, residual, mode, centered).double()
    image, conditions = _case(mode, kind, size)
    with torch.no_grad():
        result = network(image, **conditions).numpy()
    for sample in range(2):
        kspace, mask = (conditions[name][sample, 0].numpy() for name in ("kspace", "mask"))
        expected = _naive(network, image[sample].numpy(), kspace, mask, residual)
        np.testing.assert_allclose(result[sample], expected, atol=1e-12)


@pytest.mark.parametrize(("depth", "count"), [(5, 141_765), (3, 49_285)])
def test_parameters_are_the_papers(depth: int, count: int) -> None:
    network = i2ikd.create("model", "dc-cnn", depth=depth)
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("mode", ["real", "complex"])
def test_multiply_adds_of_a_fresh_network_are_those_of_every_later_slice(mode: Mode) -> None:
    """With row masks: convolutions, one complex transform of the plane, and two along the rows' axis per cascade.

    Those along the rows' axis cost half in real mode.

    The check of the first batch's centring transforms twice more; it is no cost of a slice.
    """
    height, width, cascades = 32, 20, 3
    image, conditions = _single(mode, "rows", (height, width))
    batch = Batch(image, image.clone(), conditions)
    network = DCCNN(cascades, 3, 8, mode=mode)
    fresh = count_macs(network, batch)
    pixels, images = height * width, 1 if mode == "real" else 2
    plane = 5 * pixels * math.log2(pixels)
    lines = 5 * pixels * math.log2(height) / (2 if mode == "real" else 1)
    fourier = (round(plane) + cascades * 2 * round(lines)) // 2
    convolutions = cascades * 9 * (images * 8 + 8 * 8 + 8 * images) * pixels
    assert fresh == (convolutions + fourier, fourier)
    network(image, **conditions)
    assert count_macs(network, batch) == fresh


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_taps_capture_activations_and_images_and_change_no_output(memory_format: torch.memory_format) -> None:
    network = DCCNN(2, 3, 4).to(memory_format=memory_format)  # type: ignore[call-overload]
    image, conditions = _single("real", "rows", (9, 6))
    plain = network(image, **conditions)
    paths = ["cascades.0.layers.1", "cascades.0.layers.1.convolution", "cascades.1"]
    with Taps(network, paths) as taps:
        tapped = network(image, **conditions)
        features, before, last = taps.take(paths)
    assert torch.equal(tapped, plain)
    assert features.shape == (2, 4, 9, 6)
    assert torch.equal(features, before.relu())
    assert before.min() < 0
    assert torch.equal(last, plain)
    assert torch.equal(network(image, **conditions), plain)


def test_each_sample_has_its_own_mask() -> None:
    network = DCCNN(2, 3, 4).double()
    image, conditions = _case("real", "rows", (9, 6))
    assert not torch.equal(conditions["mask"][0], conditions["mask"][1])
    together = network(image, **conditions)
    for i in range(2):
        alone = network(image[i : i + 1], **{name: value[i : i + 1] for name, value in conditions.items()})
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-14, rtol=0)


def test_kspace_where_nothing_was_measured_is_ignored() -> None:
    network = DCCNN(1, 2, 4).double()
    image, conditions = _case("real", "columns", (6, 7))
    masked = {**conditions, "kspace": conditions["kspace"] * conditions["mask"]}
    assert torch.equal(network(image, **conditions), network(image, **masked))


@pytest.mark.parametrize("mode", ["real", "complex"])
def test_data_consistency_stays_in_single_precision_under_autocast(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    dtypes: list[torch.dtype] = []
    name = "rfftn" if mode == "real" else "fftn"
    original = getattr(torch.fft, name)

    def spy(tensor: Tensor, **options: Any) -> Tensor:
        dtypes.append(tensor.dtype)
        return original(tensor, **options)

    monkeypatch.setattr(torch.fft, name, spy)
    network = DCCNN(3, 2, 4, mode=mode)
    image, conditions = _single(mode, "rows", (8, 6))
    with torch.autocast("cpu", dtype=torch.bfloat16), Taps(network, ["cascades.1.layers.0"]) as taps:
        output = network(image, **conditions)
        assert taps.take(["cascades.1.layers.0"])[0].dtype == torch.bfloat16
    assert dtypes == [torch.float32 if mode == "real" else torch.complex64] * 3
    assert output.dtype == torch.float32
    output.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def _single(mode: Mode, kind: str, size: tuple[int, int]) -> tuple[Tensor, dict[str, Tensor]]:
    image, conditions = _case(mode, kind, size)
    return image.float(), {"kspace": conditions["kspace"].to(torch.complex64), "mask": conditions["mask"].float()}


def test_gradients_equal_those_of_autograd() -> None:
    """The reference is the same network with data consistency by full complex transforms."""
    torch.manual_seed(0)
    network = DCCNN(2, 3, 4).double()
    image, conditions = _case("real", "rows", (7, 6))
    network(image, **conditions).abs().mean().backward()
    result = [p.grad.clone() for p in network.parameters() if p.grad is not None]
    network.zero_grad()
    for cascade in network.cascades:
        for layer in cascade.layers:
            image = layer(image)
        mixed = conditions["mask"] * conditions["kspace"] + (1 - conditions["mask"]) * torch.fft.fft2(
            image, norm="ortho"
        )
        image = torch.fft.ifft2(mixed, norm="ortho").real
    image.abs().mean().backward()
    for gradient, parameter in zip(result, network.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, atol=1e-13, rtol=1e-9)


def test_an_input_of_the_other_mode_is_refused() -> None:
    image, conditions = _single("complex", "rows", (8, 6))
    with pytest.raises(UserError, match=r"dc-cnn: expected an input with 1 channel\(s\) \(mode = 'real'\), got 2"):
        DCCNN(1, 2, 4)(image, **conditions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": 4}, "expected an odd kernel.*got kernel = 4"),
        ({"depth": 1}, "depth = 1"),
        ({"cascade": 5}, "did you mean 'cascades'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        i2ikd.create("model", "dc-cnn", **options)
