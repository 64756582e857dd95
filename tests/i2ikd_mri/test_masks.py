"""Masks have the number of lines of their acceleration and a fully sampled centre; files are checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from i2ikd_mri.masks import Equispaced, MaskFile, VariableDensity, measured_acceleration

import i2ikd
from i2ikd import UserError

KINDS = [VariableDensity, Equispaced]


@pytest.mark.parametrize("kind", KINDS)
@given(length=st.integers(4, 400), acceleration=st.floats(1, 12), axis=st.sampled_from([0, 1]), seed=st.integers(0, 99))
def test_the_number_of_lines_is_exact(kind: type, length: int, acceleration: float, axis: int, seed: int) -> None:
    shape = (length, 3) if axis == 0 else (3, length)
    mask = kind(acceleration=acceleration, axis=axis, seed=seed)(shape)
    assert mask.shape == ((length, 1) if axis == 0 else (1, length))
    assert mask.dtype == torch.float32
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    count = max(1, round(length / acceleration))
    assert int(mask.sum()) == count
    assert measured_acceleration(mask) == pytest.approx(length / count)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [40, 41])
def test_the_centre_is_fully_sampled_with_either_centring(kind: type, length: int) -> None:
    mask = kind(acceleration=4, axis=1, centre_lines=5)
    frequencies = np.round(np.fft.fftfreq(length) * length)
    corner = mask((3, length))
    assert corner[0, np.abs(frequencies) <= 2].all()
    centred = mask((3, length), centered=True)
    assert centred[0, length // 2 - 2 : length // 2 + 3].all()
    assert torch.equal(torch.fft.ifftshift(centred), corner)


def test_density_decays_from_the_centre() -> None:
    counts = sum(VariableDensity(acceleration=4, seed=seed, centre_lines=1)((100, 1)) for seed in range(200))[:, 0]
    assert isinstance(counts, torch.Tensor)
    near, middle, far = counts[2:12].mean(), counts[20:30].mean(), counts[38:48].mean()
    assert near > 2 * middle > 4 * far


def test_equispaced_lines_have_equal_distances() -> None:
    mask = Equispaced(acceleration=4, centre_lines=0, offset=1, axis=0)((32, 1), centered=True)[:, 0]
    assert mask.nonzero()[:, 0].tolist() == list(range(1, 32, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fixed_mask_ignores_the_draw_and_a_random_one_depends_on_it(kind: type) -> None:
    shape = (64, 5)
    fixed, free = kind(seed=3), kind(seed=3, fixed=False)
    assert torch.equal(fixed(shape, (1, 2)), fixed(shape, (7,)))
    assert torch.equal(free(shape, (1, 2)), free(shape, (1, 2)))
    assert len({tuple(free(shape, (1, draw))[:, 0].tolist()) for draw in range(8)}) > 3


def test_the_mask_depends_on_the_seed() -> None:
    assert not torch.equal(VariableDensity(seed=1)((64, 1)), VariableDensity(seed=2)((64, 1)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("acceleration", [0.5, -1.0, float("nan"), float("inf")])
def test_an_acceleration_below_one_is_refused(kind: type, acceleration: float) -> None:
    with pytest.raises(UserError, match="expected acceleration >= 1, got "):
        kind(acceleration=acceleration)


def test_a_centre_larger_than_the_mask_is_refused() -> None:
    with pytest.raises(UserError, match=r"expected centre_lines <= 10, .* got 20"):
        VariableDensity(acceleration=4, centre_lines=20)((40, 40))


def test_options_are_checked_by_the_registry() -> None:
    with pytest.raises(UserError, match="did you mean 'acceleration'"):
        i2ikd.create("mask", "variable-density", aceleration=4)
    with pytest.raises(UserError, match="axis = 2"):
        i2ikd.create("mask", "equispaced", axis=2)


def _saved(path: Path, values: np.ndarray) -> Path:
    np.save(path, values)
    return path


def test_a_file_of_whole_lines_is_reduced_to_lines(tmp_path: Path) -> None:
    line = np.array([1.0, 0, 1, 0, 0])
    rows = MaskFile(_saved(tmp_path / "rows.npy", np.repeat(line[:, None], 4, 1)))
    columns = MaskFile(_saved(tmp_path / "columns.npy", np.repeat(line[None], 4, 0)))
    single = MaskFile(_saved(tmp_path / "line.npy", line), axis=1)
    assert rows((5, 4)).shape == (5, 1)
    assert columns((4, 5)).shape == (1, 5)
    assert torch.equal(single((4, 5)), columns((4, 5)))
    assert measured_acceleration(rows((5, 4))) == 2.5


def test_a_plane_stays_a_plane_and_is_shifted_to_the_requested_centring(tmp_path: Path) -> None:
    plane = np.random.default_rng(0).random((5, 4)) < 0.4
    path = _saved(tmp_path / "plane.npy", plane)
    assert torch.equal(MaskFile(path)((5, 4)), torch.from_numpy(plane).float())
    shifted = MaskFile(path, centered=True)((5, 4))
    assert np.array_equal(shifted.numpy(), np.fft.ifftshift(plane))
    assert np.array_equal(MaskFile(path, centered=False)((5, 4), centered=True).numpy(), np.fft.fftshift(plane))


def test_the_identity_of_a_file_is_its_content_and_not_its_path(tmp_path: Path) -> None:
    one = MaskFile(_saved(tmp_path / "one.npy", np.eye(4)))
    same = MaskFile(_saved(tmp_path / "same.npy", np.eye(4)))
    other = MaskFile(_saved(tmp_path / "other.npy", 1 - np.eye(4)))
    assert one.identity() == same.identity() != other.identity()
    assert str(tmp_path) not in str(one.identity())


def test_a_mask_of_another_shape_is_refused_with_both_shapes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected the size of the slices \[4, 5\], got \[4, 4\]"):
        MaskFile(_saved(tmp_path / "plane.npy", np.eye(4)))((4, 5))
    with pytest.raises(UserError, match=r"expected the size of the slices \[4, 3\], got \[3\] along axis 0"):
        MaskFile(_saved(tmp_path / "line.npy", np.ones(3)))((4, 3))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((3, 3), 0.5), "zeros and ones"),
        (np.array([[np.nan, 1.0]]), "zeros and ones"),
        (np.zeros((3, 3)), "at least one measured sample"),
        (np.ones((2, 2, 2)), r"\[H, W\] or \[n\]"),
        (np.array([{"a": 1}], dtype=object), "cannot be read"),
    ],
)
def test_bad_mask_files_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    np.save(tmp_path / "mask.npy", values, allow_pickle=True)
    with pytest.raises(UserError, match=message):
        MaskFile(tmp_path / "mask.npy")((3, 3))


def test_a_missing_or_broken_mask_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        MaskFile(tmp_path / "nowhere.npy")((3, 3))
    (tmp_path / "text.npy").write_text("not an array")
    with pytest.raises(UserError, match="cannot be read"):
        MaskFile(tmp_path / "text.npy")((3, 3))
