"""ISMRMRD files written by the official package are sorted, cropped and whitened, with orientation and spacing."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
import pytest
from i2ikd_mri.folder import FolderDataset
from i2ikd_mri.readers.ismrmrd import IsmrmrdReader
from ismrmrd import xsd

import i2ikd
from i2ikd import UserError

RNG = np.random.default_rng(12)
COILS, SLICES, ROWS, COLUMNS = 3, 2, 8, 10
ENCODED = 2 * ROWS  # oversampled readout
Line = tuple[dict[str, Any], np.ndarray]


def random(*shape: int) -> np.ndarray:
    return (RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)).astype(np.complex64)


def transformed(image: np.ndarray, axes: Iterable[int]) -> np.ndarray:
    """Return the naive orthonormal transform to frequencies -n // 2 .. in float64, origin at n // 2."""
    for axis in axes:
        n = image.shape[axis]
        indices = np.arange(n) - n // 2
        matrix = np.exp(-2j * np.pi * np.outer(indices, indices) / n) / np.sqrt(n)
        image = np.moveaxis(np.tensordot(matrix, image, (1, axis)), 0, axis)
    return image


def in_larger_view(image: np.ndarray) -> np.ndarray:
    """Return the image in the middle of the oversampled readout, with other signal around it."""
    larger = random(*image.shape[:-2], ENCODED, image.shape[-1]).astype(np.complex128)
    start = ENCODED // 2 - ROWS // 2
    larger[..., start : start + ROWS, :] = image
    return larger


def header(depth: int = 1, trajectory: str = "cartesian", center: int = COLUMNS // 2, lines: int = COLUMNS) -> bytes:
    def space(x: int, fov: float) -> xsd.encodingSpaceType:
        return xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(x=x, y=COLUMNS, z=depth),
            fieldOfView_mm=xsd.fieldOfViewMm(x=fov, y=COLUMNS * 0.75, z=depth * 4.0),
        )

    limits = xsd.encodingLimitsType(
        kspace_encoding_step_1=xsd.limitType(minimum=0, maximum=lines - 1, center=center),
        kspace_encoding_step_2=xsd.limitType(minimum=0, maximum=depth - 1, center=depth // 2),
    )
    encoding = xsd.encodingType(
        encodedSpace=space(ENCODED, ENCODED * 0.5),
        reconSpace=space(ROWS, ROWS * 0.5),
        encodingLimits=limits,
        trajectory=xsd.trajectoryType(trajectory),
    )
    conditions = xsd.experimentalConditionsType(H1resonanceFrequency_Hz=128_000_000)
    system = xsd.acquisitionSystemInformationType(relativeReceiverNoiseBandwidth=0.8)
    document = xsd.ismrmrdHeader(
        experimentalConditions=conditions, encoding=[encoding], acquisitionSystemInformation=system
    )
    return bytes(xsd.ToXML(document), "utf-8")


def written(path: Path, lines: Iterable[Line], text: bytes | None = None) -> Path:
    """Write acquisitions: values of the header and of its counters, and samples [coils, readout]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ismrmrd.Dataset(str(path), "dataset") as dataset:
        dataset.write_xml_header(header() if text is None else text)
        for values, samples in lines:
            acquisition = ismrmrd.Acquisition.from_array(
                samples.astype(np.complex64), center_sample=samples.shape[1] // 2, sample_time_us=5.0
            )
            acquisition.read_dir, acquisition.phase_dir, acquisition.slice_dir = (0, 1, 0), (0, 0, -1), (-1, 0, 0)
            for name, value in values.items():
                if name == "flag":
                    acquisition.set_flag(value)
                elif hasattr(acquisition.idx, name):
                    setattr(acquisition.idx, name, value)
                else:
                    setattr(acquisition, name, value)
            dataset.append_acquisition(acquisition)
    return path


def acquired(kspace: np.ndarray, keep: Callable[[int], bool] = lambda _: True, **values: Any) -> list[Line]:
    """Return the lines of k-space [slices, coils, readout, steps] in an order without meaning."""
    lines: list[Line] = [
        ({"slice": place, "kspace_encode_step_1": step, "position": (2.5 * place, 1, 7), **values}, stack[:, :, step])
        for place, stack in enumerate(kspace)
        for step in range(kspace.shape[-1])
        if keep(step)
    ]
    return [lines[number] for number in RNG.permutation(len(lines))]


def images(path: Path, **options: Any) -> np.ndarray:
    return np.stack([fields["image"] for fields in IsmrmrdReader(**options)(path)])


def test_one_coil_is_sorted_and_cropped_to_the_image(tmp_path: Path) -> None:
    image = random(SLICES, 1, ROWS, COLUMNS)
    path = written(tmp_path / "v.h5", acquired(transformed(in_larger_view(image), (-2, -1))))
    volume = IsmrmrdReader()(path)
    assert (volume.name, len(volume), volume.coils) == ("v", SLICES, 1)
    assert volume[0]["image"].dtype == np.complex64
    np.testing.assert_allclose(images(path), image[:, 0], atol=1e-5)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume))[1]["image"], volume[1]["image"])


def test_coils_are_returned_as_k_space_or_combined(tmp_path: Path) -> None:
    image = random(SLICES, COILS, ROWS, COLUMNS)
    path = written(tmp_path / "v.mrd", acquired(transformed(in_larger_view(image), (-2, -1))))
    volume = IsmrmrdReader()(path)
    assert volume.coils == COILS and volume.reconstruction_size == (ROWS, COLUMNS)
    assert sorted(volume[1]) == ["kspace"]
    np.testing.assert_allclose(volume[1]["kspace"], transformed(image[1], (-2, -1)), atol=1e-5)
    combined = images(path, coils="rss")
    assert combined.dtype == np.float32
    np.testing.assert_allclose(combined, np.sqrt((np.abs(image) ** 2).sum(1)), atol=1e-5)


def test_an_undersampled_file_has_k_space_and_mask_of_the_task(tmp_path: Path) -> None:
    image = random(SLICES, 1, ROWS, COLUMNS)
    measured = np.array([step % 3 != 1 for step in range(COLUMNS)])
    kspace = transformed(in_larger_view(image), (-2, -1))
    path = written(tmp_path / "v.h5", acquired(kspace, keep=lambda step: bool(measured[step])))
    expected = transformed(image[1, 0], (-2, -1)) * measured
    fields = IsmrmrdReader()(path)[1]
    np.testing.assert_allclose(fields["kspace"], expected, atol=1e-5)
    np.testing.assert_array_equal(fields["mask"], measured[None])
    dataset = {"name": "folder", "root": tmp_path, "reader": "ismrmrd", "normalise": "none"}
    task = i2ikd.create("task", "mri-recon", dataset=dataset, mode="complex", centered=True)
    sample = task.sample_from_file(path)[1]
    np.testing.assert_array_equal(sample.conditions["mask"], measured[None, None])
    np.testing.assert_allclose(sample.conditions["kspace"][0], expected, atol=1e-5)
    with pytest.raises(UserError, match="expected fully sampled k-space for coils = 'rss'"):
        images(path, coils="rss")


def test_lines_outside_the_limits_and_stated_padding_are_zero_in_a_fully_sampled_image(tmp_path: Path) -> None:
    """Partial Fourier: 7 of 10 lines, the centre is step 3, so that the first line is index 2."""
    image = random(1, 1, ROWS, COLUMNS)
    kspace = transformed(in_larger_view(image), (-2, -1))
    path = written(tmp_path / "v.h5", acquired(kspace[..., 2:9]), header(center=3, lines=7))
    padded = transformed(image, (-2, -1))
    padded[..., :2] = padded[..., 9:] = 0
    np.testing.assert_allclose(images(path), transformed(padded.conj(), (-2, -1))[:, 0].conj(), atol=1e-5)
    some = written(tmp_path / "w.h5", acquired(kspace, keep=lambda step: 2 <= step < 9))
    assert "mask" in IsmrmrdReader()(some)[0]
    np.testing.assert_allclose(images(some, unmeasured="padding"), images(path), atol=1e-6)


def test_the_steps_of_a_3d_acquisition_are_slices(tmp_path: Path) -> None:
    depth = 6
    image = random(1, ROWS, COLUMNS, depth)
    larger = np.moveaxis(in_larger_view(np.moveaxis(image, -1, 1)), 1, -1)
    kspace = transformed(larger, (-3, -2, -1))
    lines = [
        ({"kspace_encode_step_1": row, "kspace_encode_step_2": column}, kspace[:, :, row, column])
        for row in range(COLUMNS)
        for column in range(depth)
    ]
    order = RNG.permutation(len(lines))
    path = written(tmp_path / "v.h5", [lines[number] for number in order], header(depth))
    np.testing.assert_allclose(images(path), np.moveaxis(image[0], -1, 0), atol=1e-5)
    part = written(tmp_path / "w.h5", lines[1:], header(depth))
    with pytest.raises(UserError, match=r"all 60 lines of the 3-D acquisition, got 59; .*unmeasured = 'padding'"):
        images(part)
    assert images(part, unmeasured="padding").shape == (depth, ROWS, COLUMNS)


def test_partial_echoes_and_discarded_samples_are_placed_by_their_centre(tmp_path: Path) -> None:
    image = random(1, 1, ROWS, COLUMNS)
    kspace = transformed(in_larger_view(image), (-2, -1))
    short = kspace[:, :, 5:].copy()
    short[:, :, :2] = short[:, :, -1:] = 99
    lines = acquired(short, center_sample=ENCODED // 2 - 5, discard_pre=2, discard_post=1)
    expected = kspace.copy()
    expected[:, :, :7] = expected[:, :, -1:] = 0
    full = written(tmp_path / "full.h5", acquired(expected))
    np.testing.assert_allclose(images(written(tmp_path / "v.h5", lines)), images(full), atol=1e-6)


def test_averages_are_averaged_and_other_measurements_are_passed_over(tmp_path: Path) -> None:
    image = random(1, 1, ROWS, COLUMNS)
    kspace = transformed(in_larger_view(image), (-2, -1))
    lines = acquired(kspace * 0.5, average=0) + acquired(kspace * 1.5, average=1)
    for flag in ("PARALLEL_CALIBRATION", "NAVIGATION_DATA", "PHASECORR_DATA", "DUMMYSCAN_DATA"):
        lines += acquired(random(*kspace.shape), flag=getattr(ismrmrd, f"ACQ_IS_{flag}"))
    lines += acquired(random(*kspace.shape), encoding_space_ref=1)
    np.testing.assert_allclose(images(written(tmp_path / "v.h5", lines)), image[:, 0], atol=1e-5)


@pytest.mark.parametrize("counter", ["contrast", "phase", "repetition", "set"])
def test_several_images_are_refused_unless_one_is_chosen(tmp_path: Path, counter: str) -> None:
    stacks = [random(1, 1, ROWS, COLUMNS) for _ in range(2)]
    lines = [
        line
        for number, image in enumerate(stacks)
        for line in acquired(transformed(in_larger_view(image), (-2, -1)), **{counter: number})
    ]
    path = written(tmp_path / "v.h5", lines)
    with pytest.raises(UserError, match=rf"expected one {counter}, got 2; set the reader option {counter} = 0"):
        images(path)
    np.testing.assert_allclose(images(path, **{counter: 1}), stacks[1][:, 0], atol=1e-5)
    with pytest.raises(UserError, match=rf"no {counter} 7; expected one of \[0, 1\]"):
        images(path, **{counter: 7})


class TestNoise:
    MIXING = np.array([[2, 0, 0], [0.5 - 1j, 1, 0], [0.3, 0.2j, 0.5]])

    def noise(self, *shape: int) -> np.ndarray:
        """Return correlated noise [coils, ...]; complex samples have variance 1 before the mixing."""
        return np.tensordot(self.MIXING, random(COILS, *shape) / np.sqrt(2), 1)

    def test_the_noise_of_whitened_coils_is_uncorrelated_with_variance_1(self, tmp_path: Path) -> None:
        """A sample of the image takes twice the time: its noise has half the variance, 0.8 of the bandwidth counts."""
        measurement = ({"flag": ismrmrd.ACQ_IS_NOISE_MEASUREMENT, "sample_time_us": 2.5}, self.noise(20_000))
        slices = 60
        stacks = np.moveaxis(self.noise(slices, ENCODED, COLUMNS), 1, 0) * np.sqrt(0.5 / 0.8)
        path = written(tmp_path / "v.h5", [measurement, *acquired(stacks)])
        values = np.concatenate([f["kspace"].reshape(COILS, -1) for f in IsmrmrdReader()(path)], 1)
        covariance = values @ values.conj().T / values.shape[1]
        np.testing.assert_allclose(covariance, np.eye(COILS), atol=6 / np.sqrt(values.shape[1]))
        raw = np.concatenate([f["kspace"].reshape(COILS, -1) for f in IsmrmrdReader(whiten=False)(path)], 1)
        assert abs((raw @ raw.conj().T / raw.shape[1])[0, 0]) > 2

    def test_noise_that_cannot_whiten_is_refused(self, tmp_path: Path) -> None:
        kspace = random(1, COILS, ENCODED, COLUMNS)
        flag = {"flag": ismrmrd.ACQ_IS_NOISE_MEASUREMENT}
        for number, values in enumerate((self.noise(2), np.ones((COILS, 50)))):
            path = written(tmp_path / f"{number}.h5", [(flag, values), *acquired(kspace)])
            with pytest.raises(UserError, match=r"singular covariance; set the reader option whiten = false"):
                IsmrmrdReader()(path)[0]
        path = written(tmp_path / "coils.h5", [(flag, self.noise(50)[:2]), *acquired(kspace)])
        with pytest.raises(UserError, match=r"expected noise of 3 coils, got 2"):
            IsmrmrdReader()(path)[0]


@pytest.mark.parametrize("depth", [1, 6])
def test_position_orientation_and_spacing_are_those_of_the_acquisitions(tmp_path: Path, depth: int) -> None:
    """Rows point to posterior, columns to inferior, slices to the right; the centre is at (0 or 2.5, 1, 7) in LPS."""
    if depth == 1:
        lines = acquired(random(SLICES, 1, ENCODED, COLUMNS))
    else:
        steps = [(row, column) for row in range(COLUMNS) for column in range(depth)]
        lines = [
            ({"kspace_encode_step_1": row, "kspace_encode_step_2": column, "position": (0, 1, 7)}, random(1, ENCODED))
            for row, column in steps
        ]
    affine = IsmrmrdReader()(written(tmp_path / "v.h5", lines, header(depth))).affine
    assert affine is not None
    row, column, place = ROWS // 2 + 2, COLUMNS // 2 + 3, 1 if depth == 1 else depth // 2 + 1
    left = 2.5 if depth == 1 else -4.0
    in_lps = np.array([left, 1 + 2 * 0.5, 7 - 3 * 0.75])
    np.testing.assert_allclose((affine @ [row, column, place, 1])[:3], in_lps * [-1, -1, 1], atol=1e-5)


class TestRefused:
    @pytest.mark.parametrize("trajectory", ["radial", "spiral", "epi"])
    def test_other_trajectories(self, tmp_path: Path, trajectory: str) -> None:
        lines = acquired(random(1, 1, ENCODED, COLUMNS))
        path = written(tmp_path / "v.h5", lines, header(trajectory=trajectory))
        with pytest.raises(UserError, match=rf"expected Cartesian acquisitions, got the trajectory '{trajectory}'"):
            len(IsmrmrdReader()(path))

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ({"flag": ismrmrd.ACQ_IS_REVERSE}, "reversed readouts"),
            ({"flag": ismrmrd.ACQ_IS_NOISE_MEASUREMENT}, "expected imaging acquisitions, got none of 10"),
            ({"kspace_encode_step_1": 40}, r"within the encoded matrix \[16, 10, 1\], got the line \(40, 0\)"),
            ({"center_sample": 1}, "at most 16 samples"),
        ],
    )
    def test_acquisitions_that_are_no_image(self, tmp_path: Path, values: dict[str, Any], expected: str) -> None:
        path = written(tmp_path / "v.h5", acquired(random(1, 1, ENCODED, COLUMNS), **values))
        with pytest.raises(UserError, match=expected):
            IsmrmrdReader()(path)[0]

    def test_a_header_that_is_no_xml(self, tmp_path: Path) -> None:
        path = written(tmp_path / "v.h5", acquired(random(1, 1, ENCODED, COLUMNS)), b"<broken")
        with pytest.raises(UserError, match="the ISMRMRD header cannot be read"):
            len(IsmrmrdReader()(path))

    def test_a_missing_package_is_named_for_ismrmrd_files_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = written(tmp_path / "v.h5", acquired(random(1, 1, ENCODED, COLUMNS)))
        with h5py.File(tmp_path / "other.h5", "w") as file:
            file["other"] = np.ones(3)
        for module in ("ismrmrd", "ismrmrd.xsd", "ismrmrd.file"):
            monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(UserError, match=r"ismrmrd is not installed: pip install 'i2ikd\[ismrmrd\]'"):
            len(IsmrmrdReader()(path))
        with pytest.raises(UserError, match=r"no dataset 'dataset/data'; it holds 'other'"):
            len(IsmrmrdReader()(tmp_path / "other.h5"))


def test_the_layout_is_detected_and_several_coils_are_refused_by_a_task_of_one(tmp_path: Path) -> None:
    image = random(SLICES, COILS, ROWS, COLUMNS)
    for split in ("train", "val", "test"):
        lines = acquired(transformed(in_larger_view(image), (-2, -1)))
        written(tmp_path / split / f"{split}.h5", lines)
    (volume,) = FolderDataset(tmp_path, normalise="none").volumes("test")
    assert volume[0]["kspace"].shape == (COILS, ROWS, COLUMNS)
    with pytest.raises(
        UserError, match=r"got 3 coils; set name = 'mri-multicoil' in .*, or .*'ismrmrd', coils = 'rss'"
    ):
        i2ikd.create("task", "mri-recon", dataset={"name": "folder", "root": tmp_path}).dataset("train")
    reader = {"name": "ismrmrd", "coils": "rss"}
    task = i2ikd.create("task", "mri-recon", dataset={"name": "folder", "root": tmp_path, "reader": reader})
    assert task.dataset("train")[0].target.shape == (1, ROWS, COLUMNS)
