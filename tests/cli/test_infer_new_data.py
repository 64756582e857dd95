"""``i2ikd infer`` takes new data as it is: low-resolution scans are enlarged, measured k-space keeps its own mask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from i2ikd.api import load

RNG = np.random.default_rng(11)
LOW = (500 * RNG.random((12, 10, 3)) + 10).astype(np.float32)
AFFINE = np.array([[0, -2.0, 0, 5], [3, 0, 0, -7], [0, 0, 4, 1], [0, 0, 0, 1]])


@pytest.fixture
def enlarge(i2ikd: Any, sharpening: Path, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that applies a super-resolution run of factor 2."""

    def call(source: Path, output: str, *options: object) -> Any:
        arguments = ("--input", source, "--output", tmp_path / output, "-o", "task.factor=2")
        return i2ikd("infer", sharpening, *arguments, *options)

    return call


def zero_filled(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the magnitude after k-space is padded with zeros, or cut, to a size; intensities are preserved."""
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image)))
    result = np.zeros(size, complex)
    kept = [min(n, m) for n, m in zip(image.shape, size)]
    old, new = (
        tuple(slice(n // 2 - k // 2, n // 2 - k // 2 + k) for n, k in zip(s, kept)) for s in (image.shape, size)
    )
    result[new] = spectrum[old]
    image = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(result))) * np.prod(size) / np.prod(image.shape)
    return np.abs(image)


def restored(run: Path, inputs: np.ndarray) -> np.ndarray:
    """Return the output of a run's network for inputs [H, W, slices] of the units of the network."""
    with torch.no_grad():
        batch = torch.from_numpy(np.moveaxis(inputs, -1, 0)[:, None].astype(np.float32))
        return np.moveaxis(load(run)(batch).numpy()[:, 0], 0, -1)


class TestLowResolution:
    def test_a_scan_is_enlarged_with_its_field_of_view(self, enlarge: Any, sharpening: Path, tmp_path: Path) -> None:
        nibabel.save(nibabel.Nifti1Image(LOW, AFFINE), tmp_path / "low.nii.gz")
        answer = enlarge(tmp_path / "low.nii.gz", "high.nii.gz")
        assert (answer.code, "simulated" in answer.out, "3 slices of 24 x 20" in answer.out) == (0, False, True)
        result = nibabel.load(tmp_path / "high.nii.gz")
        scale = LOW.max()
        inputs = np.stack([zero_filled(LOW[..., k] / scale, (24, 20)) for k in range(3)], -1)
        np.testing.assert_allclose(result.get_fdata(), restored(sharpening, inputs) * scale, rtol=1e-4, atol=1e-2)
        np.testing.assert_allclose(result.affine[:3, :3], AFFINE[:3, :3] @ np.diag([0.5, 0.5, 1]))
        np.testing.assert_allclose(result.affine @ [12, 10, 1, 1], AFFINE @ [6, 5, 1, 1])  # n // 2 of both grids
        np.testing.assert_allclose(result.header.get_zooms(), [1.5, 1, 4])

    def test_evaluation_is_simulated_on_request(self, enlarge: Any, sharpening: Path, tmp_path: Path) -> None:
        nibabel.save(nibabel.Nifti1Image(LOW, AFFINE), tmp_path / "full.nii.gz")
        dataset = "task.dataset={name='folder', root='nowhere'}"
        answer = enlarge(tmp_path / "full.nii.gz", "out.nii.gz", "--simulate", "-o", dataset)
        statement = "low resolution, from magnitude images: k-space of 12 x 10 cut to its central 6 x 5"
        assert answer.out.startswith(f"simulated: {statement}\n")
        result, scale = nibabel.load(tmp_path / "out.nii.gz"), LOW.max()
        inputs = np.stack(
            [zero_filled(zero_filled_complex(LOW[..., k] / scale, (6, 5)), (12, 10)) for k in range(3)], -1
        )
        np.testing.assert_allclose(result.get_fdata(), restored(sharpening, inputs) * scale, rtol=1e-4, atol=1e-2)
        np.testing.assert_array_equal(result.affine, AFFINE)

    def test_kept_k_space_states_the_factor_by_the_size_of_the_training(
        self, i2ikd: Any, sharpening: Path, tmp_path: Path
    ) -> None:
        """The phantoms of the run are 32 x 24: factors of 2 and 3."""
        np.save(tmp_path / "low.npy", np.moveaxis(LOW, -1, 0))
        arguments = ("--input", tmp_path / "low.npy", "--output", tmp_path / "high.npy", "-o", "task.keep=[16, 8]")
        assert i2ikd("infer", sharpening, *arguments).code == 0
        assert np.load(tmp_path / "high.npy").shape == (3, 24, 30)

    def test_a_numpy_file_and_a_dicom_series_are_enlarged(self, enlarge: Any, tmp_path: Path) -> None:
        np.save(tmp_path / "low.npy", np.moveaxis(LOW, -1, 0))
        assert enlarge(tmp_path / "low.npy", "high.npy").code == 0
        series(tmp_path / "low")
        assert enlarge(tmp_path / "low", "high").code == 0
        files = [pydicom.dcmread(path) for path in sorted((tmp_path / "high").iterdir())]
        step = float(files[0].RescaleSlope)
        values = [file.pixel_array * step + float(file.RescaleIntercept) for file in files]
        np.testing.assert_allclose(values, np.load(tmp_path / "high.npy"), atol=0.51 * step + 1.5)  # rounded input
        for number, file in enumerate(files):
            assert list(file.PixelSpacing) == [0.75, 1] and (file.Rows, file.Columns) == (24, 20)
            assert file.PatientID == "p1" and file.StudyInstanceUID == "1.2.3"
            corner = np.array(file.ImagePositionPatient, float)
            centre = corner + np.array([10 * 1, 12 * 0.75, 0])
            np.testing.assert_allclose(centre, [5 * 2, 6 * 1.5, 4 * number])

    def test_one_dicom_file_is_written_as_one(self, enlarge: Any, tmp_path: Path) -> None:
        series(tmp_path / "low")
        assert enlarge(tmp_path / "low" / "1.dcm", "high.dcm").code == 0
        file = pydicom.dcmread(tmp_path / "high.dcm")
        assert (file.Rows, file.Columns, list(file.PixelSpacing)) == (24, 20, [0.75, 1])
        assert file.SeriesInstanceUID != pydicom.dcmread(tmp_path / "low" / "1.dcm").SeriesInstanceUID
        (tmp_path / "low" / "scan.npy").write_bytes(b"")
        answer = enlarge(tmp_path / "low", "mixed")
        assert sorted(path.name for path in (tmp_path / "mixed").iterdir()) == ["0.dcm", "1.dcm", "2.dcm"]
        assert answer.err.splitlines()[-1].startswith("i2ikd: error: 1 of 4 volumes failed")


def zero_filled_complex(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the low-resolution complex image, whose magnitude is not taken before it is enlarged."""
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image)))
    rows, columns = (slice(n // 2 - k // 2, n // 2 - k // 2 + k) for n, k in zip(image.shape, size))
    cut = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(spectrum[rows, columns])))
    return cut * np.prod(size) / np.prod(image.shape)


def series(folder: Path) -> None:
    """Write ``LOW``, rounded, as DICOM files of 1.5 x 2 mm with positions along z."""
    folder.mkdir()
    uid = generate_uid()
    for number in range(LOW.shape[-1]):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MRImageStorage
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.PatientID = uid, "1.2.3", "p1"
        dataset.Modality, dataset.SamplesPerPixel, dataset.PhotometricInterpretation = "MR", 1, "MONOCHROME2"
        dataset.Rows, dataset.Columns = LOW.shape[:2]
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 4 * number], [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = [1.5, 2], 4
        dataset.PixelData = LOW[..., number].round().astype("<u2").tobytes()
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)


MASK = np.zeros((16, 1), np.float32)
MASK[[0, 1, 2, 5, 9, 15]] = 1
READER = "reader={name='hdf5', kspace='k', mask='m', axes='slices height width'}"
MEASURED = ("-o", f"task.dataset={{name='folder', root='nowhere', {READER}}}")


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """Write a file of k-space [2, 16, 14] and its mask; line 9 was measured, and is 0."""
    images = RNG.random((2, 16, 14)) * 300
    kspace = np.fft.fft2(images, norm="ortho") * MASK
    kspace[:, 9] = 0
    with h5py.File(tmp_path / "new.h5", "w") as file:
        file["k"], file["m"] = kspace.astype(np.complex64), np.broadcast_to(MASK, (16, 14))
    return tmp_path / "new.h5"


class TestMeasuredKspace:
    def test_is_reconstructed_with_its_own_mask(
        self, i2ikd: Any, reconstruction: Path, measured: Path, tmp_path: Path
    ) -> None:
        output = tmp_path / "out.h5"
        answer = i2ikd("infer", reconstruction, "--input", measured, "--output", output, *MEASURED)
        assert answer.code == 0 and "simulated" not in answer.out
        with h5py.File(measured) as file:
            kspace = file["k"][:]
        images = np.fft.ifft2(kspace, norm="ortho")
        scale = np.abs(images).max()
        expected, by_support = (
            load(reconstruction)(
                torch.from_numpy((images.real / scale).astype(np.float32))[:, None],
                kspace=torch.from_numpy((kspace / scale).astype(np.complex64))[:, None],
                mask=torch.from_numpy(mask.astype(np.float32)).expand(2, 1, 16, 1),
            )[:, 0]
            .detach()
            .numpy()
            * scale
            for mask in (MASK, MASK * (np.arange(16) != 9)[:, None])
        )
        with h5py.File(output) as file:
            result = np.moveaxis(file["reconstruction"][:], -1, 0)
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-3)
        assert np.abs(by_support - expected).max() > 1e-2, "line 9 would be filled"

    def test_samples_outside_the_mask_are_refused(
        self, i2ikd: Any, reconstruction: Path, measured: Path, tmp_path: Path
    ) -> None:
        with h5py.File(measured, "r+") as file:
            file["k"][1, 3] = 7
        arguments = ("--input", measured, "--output", tmp_path / "out.h5")
        error = i2ikd("infer", reconstruction, *arguments, *MEASURED).error
        assert error.startswith(
            f"{measured}: new, slice 1: expected a k-space that is 0 where its mask is 0, got 14 other"
        )

    def test_simulation_needs_an_image(self, i2ikd: Any, reconstruction: Path, measured: Path, tmp_path: Path) -> None:
        arguments = ("--input", measured, "--output", tmp_path / "out.h5", "--simulate")
        assert (
            "got undersampled k-space; omit --simulate" in i2ikd("infer", reconstruction, *arguments, *MEASURED).error
        )

    def test_precedes_the_image_of_the_file_unless_evaluation_is_simulated(
        self, i2ikd: Any, reconstruction: Path, measured: Path, tmp_path: Path
    ) -> None:
        with h5py.File(measured, "r+") as file:
            file["image"] = RNG.random((2, 16, 14)).astype(np.float32)
        results = {}
        for name, options in {"measured": (), "simulated": ("--simulate",)}.items():
            output = tmp_path / f"{name}.h5"
            arguments = ("--input", measured, "--output", output, *options, *MEASURED)
            answer = i2ikd("infer", reconstruction, *arguments)
            assert (answer.code, "simulated: k-space from magnitude" in answer.out) == (0, name == "simulated")
            with h5py.File(output) as file:
                results[name] = file["reconstruction"][:]
        assert np.abs(results["measured"] - results["simulated"]).max() > 0.1


def test_resampling_is_stated(i2ikd: Any, reconstruction: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RNG.random((2, 48, 40), np.float32))
    answer = i2ikd("infer", reconstruction, "--input", tmp_path / "a.npy", "--output", tmp_path / "b.npy",
                   "-o", "task.dataset={name='folder', root='nowhere', size=[32, 32]}")  # fmt: skip
    assert answer.out.splitlines()[0] == "simulated: images of 32 x 32, resampled from 48 x 40"
