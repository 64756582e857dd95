"""DICOM series written by pydicom are read in the order of their positions, with rescaled values and orientation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from i2ikd_mri.folder import FolderDataset
from i2ikd_mri.readers.dicom import DicomReader
from i2ikd_mri.single_file import is_volume, open_file, write_volume
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from i2ikd import UserError

RNG = np.random.default_rng(8)
STACK = RNG.integers(0, 4000, (4, 36, 45)).astype(np.uint16)  # the encoder of JPEG 2000 needs 32 pixels
ORIENTATION = [0.0, 1, 0, 0, 0, -1]  # sagittal: rows to posterior, columns to inferior
NORMAL = np.cross(ORIENTATION[:3], ORIENTATION[3:])
ORIGIN, STEP, SPACING = np.array([10.0, -20, 30]), 2.5, [0.5, 0.75]
SERIES = generate_uid(entropy_srcs=["series"])


def header(kind: str, **values: Any) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = kind
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID, dataset.Modality, dataset.SamplesPerPixel = SERIES, "MR", 1
    dataset.Rows, dataset.Columns = STACK.shape[1:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def classic(path: Path, place: int, **values: Any) -> Path:
    """Write slice ``place`` of ``STACK``."""
    dataset = header(MRImageStorage)
    dataset.ImagePositionPatient = (ORIGIN + NORMAL * STEP * place).tolist()
    dataset.ImageOrientationPatient, dataset.PixelSpacing, dataset.SliceThickness = ORIENTATION, SPACING, 2
    dataset.PixelData = STACK[place].tobytes()
    for name, value in values.items():
        setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def series(folder: Path, **values: Any) -> Path:
    """Write a series whose file names and numbers contradict the positions."""
    for number, place in enumerate((2, 0, 3, 1)):
        classic(folder / f"{number}.dcm", place, InstanceNumber=number, **values)
    return folder


def enhanced(path: Path, order: tuple[int, ...] = (2, 0, 3, 1)) -> Path:
    """Write a multi-frame file with a scale for each frame."""
    dataset = header(EnhancedMRImageStorage, NumberOfFrames=len(order))
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = ORIENTATION
    measures.PixelSpacing, measures.SliceThickness = SPACING, 2
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for place in order:
        group, plane, scale = Dataset(), Dataset(), Dataset()
        plane.ImagePositionPatient = (ORIGIN + NORMAL * STEP * place).tolist()
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = place + 1, -place, "US"
        group.PlanePositionSequence, group.PixelValueTransformationSequence = [plane], [scale]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.PixelData = STACK[list(order)].tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def images(path: Path, **options: Any) -> np.ndarray:
    return np.stack([fields["image"] for fields in DicomReader(**options)(path)])


def test_a_series_is_sorted_by_position_along_the_normal(tmp_path: Path) -> None:
    np.testing.assert_array_equal(images(series(tmp_path / "s")), STACK)
    assert DicomReader()(tmp_path / "s").name == "s"


def test_values_are_rescaled(tmp_path: Path) -> None:
    values = images(series(tmp_path / "s", RescaleSlope=2.5, RescaleIntercept=-100))
    np.testing.assert_allclose(values, STACK * 2.5 - 100)


def test_monochrome1_is_inverted_within_its_stored_bits(tmp_path: Path) -> None:
    values = images(series(tmp_path / "s", PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(values, 4095 - STACK.astype(np.float32))


def test_frames_of_an_enhanced_file_have_their_position_and_scale(tmp_path: Path) -> None:
    values = images(enhanced(tmp_path / "v.dcm"))
    scale = np.arange(4)[:, None, None]
    np.testing.assert_allclose(values, STACK * (scale + 1.0) - scale)


@pytest.mark.parametrize("multi_frame", [False, True])
def test_orientation_and_spacing_are_written_to_nifti(tmp_path: Path, multi_frame: bool) -> None:
    volume = DicomReader()(enhanced(tmp_path / "v.dcm") if multi_frame else series(tmp_path / "s"))
    write_volume(np.stack([fields["image"] for fields in volume], -1), tmp_path / "out.nii", volume)
    affine = nibabel.load(tmp_path / "out.nii").affine
    row, column, place = 2, 5, 3
    in_dicom = (
        ORIGIN
        + NORMAL * STEP * place
        + np.array(ORIENTATION[3:]) * SPACING[0] * row
        + np.array(ORIENTATION[:3]) * SPACING[1] * column
    )
    np.testing.assert_allclose((affine @ [row, column, place, 1])[:3], in_dicom * [-1, -1, 1], atol=1e-5)
    assert nibabel.aff2axcodes(affine) == ("I", "P", "R" if NORMAL[0] < 0 else "L")


def test_several_series_in_a_folder_are_refused_unless_one_is_chosen(tmp_path: Path) -> None:
    other = generate_uid()
    classic(series(tmp_path / "s") / "x.dcm", 0, SeriesInstanceUID=other, SeriesDescription="scout")
    with pytest.raises(UserError, match=rf"expected one series, got .*{other} \(scout\); set the reader option series"):
        images(tmp_path / "s")
    np.testing.assert_array_equal(images(tmp_path / "s", series=SERIES), STACK)
    with pytest.raises(UserError, match=r"expected the series 1\.2\.3"):
        images(tmp_path / "s", series="1.2.3")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"ImagePositionPatient": ORIGIN.tolist()}, "expected one image at each position, got"),
        ({"ImagePositionPatient": (ORIGIN + NORMAL * 20).tolist()}, "a slice is missing"),
        ({"ImageOrientationPatient": [1.0, 0, 0, 0, 1, 0]}, "expected slices of one orientation"),
        ({"ImagePositionPatient": None}, "expected the position and orientation of every slice"),
    ],
)
def test_slices_that_are_no_even_stack_are_refused(tmp_path: Path, changed: dict[str, Any], expected: str) -> None:
    classic(series(tmp_path / "s") / "2.dcm", 3, **changed)
    with pytest.raises(UserError, match=expected):
        images(tmp_path / "s")


def test_pictures_beside_dicom_files_and_damaged_files_are_refused(tmp_path: Path) -> None:
    series(tmp_path / "s")
    (tmp_path / "s" / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"DICOM files of one series alone, got 'a\.png'"):
        images(tmp_path / "s")
    (tmp_path / "v.dcm").write_bytes(b"no dicom" * 40)
    with pytest.raises(UserError, match=r"v\.dcm: not a DICOM file, or damaged"):
        images(tmp_path / "v.dcm")


def test_a_folder_dataset_and_single_inputs_read_folders_of_dicom_files(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        series(tmp_path / split / f"{split}-subject")
    for reader in (None, "dicom"):
        dataset = FolderDataset(tmp_path, reader=reader, normalise="none")
        (volume,) = dataset.volumes("test")
        assert volume.name == "test-subject"
        np.testing.assert_array_equal([volume[index]["image"] for index in range(len(volume))], STACK)
        folder = tmp_path / "test" / "test-subject"
        assert is_volume(dataset, folder) and len(open_file(dataset, folder)) == len(STACK)


def test_a_part_of_a_series_and_a_series_beside_other_data_are_no_volume(tmp_path: Path) -> None:
    series(tmp_path / "train" / "s1")
    file = sorted((tmp_path / "train" / "s1").iterdir())[0].name
    for split in ("val", "test"):
        series(tmp_path / split / f"{split}-subject")
    with pytest.raises(UserError, match=rf"s1: expected all {len(STACK)} DICOM files of the folder, got 1 by include"):
        FolderDataset(tmp_path, include=["*-subject/*", f"s1/{file}"]).volumes("train")
    np.save(tmp_path / "train" / "s1" / "more.npy", STACK)
    assert not is_volume(FolderDataset(tmp_path), tmp_path / "train" / "s1")


def test_a_missing_pydicom_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UserError, match=r"pydicom is not installed; pip install 'i2ikd\[dicom\]'"):
        DicomReader()


def test_a_file_of_a_scanner_equals_the_array_of_pydicom(tmp_path: Path) -> None:
    path = Path(pydicom.__file__).parent / "data" / "test_files" / "MR_small.dcm"
    if not path.is_file():
        pytest.skip("pydicom is installed without MR_small.dcm")
    np.testing.assert_array_equal(images(path)[0], pydicom.dcmread(path).pixel_array)


def encapsulated(path: Path, place: int, syntax: str, encode: Callable[[np.ndarray], bytes]) -> None:
    """Write slice ``place`` of ``STACK``, compressed by a codec that pydicom only decodes."""
    dataset = pydicom.dcmread(classic(path, place))
    dataset.PixelData = pydicom.encaps.encapsulate([encode(STACK[place])])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)


class TestCompressed:
    """Values survive every lossless transfer syntax."""

    def recoded(self, path: Path, syntax: str) -> None:
        """Compress a file with pydicom."""
        dataset = pydicom.dcmread(path)
        if syntax == uid.DeflatedExplicitVRLittleEndian:
            dataset.file_meta.TransferSyntaxUID = syntax
        else:
            dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(path, enforce_file_format=True)
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax

    @pytest.mark.parametrize("name", ["RLELossless", "JPEG2000Lossless", "DeflatedExplicitVRLittleEndian"])
    @pytest.mark.parametrize("multi_frame", [False, True])
    def test_files_that_pydicom_compressed_are_read_exactly(self, tmp_path: Path, name: str, multi_frame: bool) -> None:
        source = enhanced(tmp_path / "v.dcm") if multi_frame else series(tmp_path / "s")
        expected, affine = images(source), DicomReader()(source).affine
        for path in [source] if multi_frame else source.iterdir():
            self.recoded(path, getattr(uid, name))
        volume = DicomReader()(source)
        np.testing.assert_array_equal([fields["image"] for fields in volume], expected)
        np.testing.assert_array_equal(volume.affine, affine)

    @pytest.mark.parametrize(
        ("name", "codec"), [("JPEGLSLossless", "jpegls_encode"), ("JPEGLosslessSV1", "ljpeg_encode")]
    )
    def test_jpeg_files_of_another_codec_are_read_exactly(self, tmp_path: Path, name: str, codec: str) -> None:
        imagecodecs, _ = pytest.importorskip("imagecodecs"), pytest.importorskip("gdcm")
        for place in (2, 0, 3, 1):
            encapsulated(tmp_path / "s" / f"{place}.dcm", place, getattr(uid, name), getattr(imagecodecs, codec))
        np.testing.assert_array_equal(images(tmp_path / "s"), STACK)

    def test_a_series_is_written_uncompressed_from_a_compressed_one(self, tmp_path: Path) -> None:
        for path in series(tmp_path / "s").iterdir():
            self.recoded(path, uid.RLELossless)
        values = (RNG.standard_normal((36, 45, 4)) * 500).astype(np.float32)
        write_volume(values, tmp_path / "out", DicomReader()(tmp_path / "s"))
        step = (values.max() - values.min()) / 65535
        np.testing.assert_allclose(images(tmp_path / "out"), np.moveaxis(values, -1, 0), atol=0.51 * step)

    def test_a_missing_decoder_is_named_before_the_first_slice(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = classic(tmp_path / "v.dcm", 1)
        self.recoded(path, uid.JPEG2000Lossless)
        decoder = pydicom.pixels.get_decoder(uid.JPEG2000Lossless)
        monkeypatch.setattr(decoder, "_available", {})
        monkeypatch.setattr(decoder, "_unavailable", {"pylibjpeg": ("pylibjpeg>=2.0", "pylibjpeg-openjpeg>=2.0")})
        with pytest.raises(UserError, match=r"v\.dcm: .*JPEG 2000.*'i2ikd\[dicom\]', .*pylibjpeg-openjpeg>=2\.0"):
            len(DicomReader()(path))

    def test_a_transfer_syntax_that_pydicom_does_not_decode_is_refused(self, tmp_path: Path) -> None:
        encapsulated(tmp_path / "v.dcm", 0, uid.MPEG2MPML, lambda values: values.tobytes())
        with pytest.raises(UserError, match=r"transfer syntax MPEG2 .* cannot be decoded by pydicom"):
            len(DicomReader()(tmp_path / "v.dcm"))


class TestWritten:
    """A volume written for a series is a new series of the same study."""

    def written(self, tmp_path: Path, values: np.ndarray, name: str = "out") -> list[Dataset]:
        source = DicomReader()(series(tmp_path / "s", RescaleSlope=2, PatientID="p1", StudyInstanceUID="1.2.3"))
        write_volume(values, tmp_path / name, source)
        return [pydicom.dcmread(path) for path in sorted((tmp_path / name).iterdir())]

    @pytest.mark.parametrize("name", ["out", "1.2.840.10008"])
    def test_values_positions_and_study_survive(self, tmp_path: Path, name: str) -> None:
        values = (RNG.standard_normal((36, 45, 4)) * 500).astype(np.float32)
        files = self.written(tmp_path, values, name)
        step = (values.max() - values.min()) / 65535
        result = DicomReader()(tmp_path / name)
        np.testing.assert_allclose([f["image"] for f in result], np.moveaxis(values, -1, 0), atol=0.51 * step)
        np.testing.assert_allclose(result.affine, DicomReader()(tmp_path / "s").affine, atol=1e-9)
        uids = {str(file.SeriesInstanceUID) for file in files}
        assert len(uids) == 1 and SERIES not in uids
        assert len({str(file.SOPInstanceUID) for file in files}) == 4
        assert {(file.PatientID, file.StudyInstanceUID) for file in files} == {("p1", "1.2.3")}

    def test_a_resampled_volume_has_the_same_centre_voxel_and_field_of_view(self, tmp_path: Path) -> None:
        self.written(tmp_path, np.ones((48, 60, 4), np.float32))
        old, new = (DicomReader()(tmp_path / name).affine for name in ("s", "out"))
        assert old is not None and new is not None
        np.testing.assert_allclose(new @ [24, 30, 1, 1], old @ [18, 22, 1, 1], atol=1e-6)
        np.testing.assert_allclose(new[:3, :2] * [48, 60], old[:3, :2] * [36, 45], atol=1e-6)

    def test_complex_values_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="DICOM stores no complex values"):
            self.written(tmp_path, np.ones((36, 45, 4), np.complex64))
