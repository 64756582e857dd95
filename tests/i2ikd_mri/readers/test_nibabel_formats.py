"""Volumes written by nibabel are read with their values and written back with axes, orientation and spacing."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path
from typing import Any, ClassVar

import nibabel
import numpy as np
import pytest
from i2ikd_mri.readers.nifti import NiftiReader, Plane
from i2ikd_mri.readers.process_caches import DECODED
from i2ikd_mri.single_file import write_volume

from i2ikd import UserError, Volume

RNG = np.random.default_rng(3)
VALUES = RNG.random((6, 9, 4), dtype=np.float32)
OBLIQUE = np.array([[0.2, -1.9, 0, 5], [2.8, 0.3, 0.1, -7], [0, 0.1, 4, 1], [0, 0, 0, 1]])


def stacked(volume: Volume) -> np.ndarray:
    """Return all slices, [H, W, slices]."""
    return np.stack([volume[index]["image"] for index in range(len(volume))], -1)


def saved(path: Path, values: np.ndarray, affine: np.ndarray = OBLIQUE, kind: Any = nibabel.Nifti1Image) -> Path:
    nibabel.save(kind(values, affine), path)
    return path


class TestShapes:
    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    @pytest.mark.parametrize("shape", [(6, 9), (6, 9, 1), (6, 9, 1, 1), (6, 9, 4, 1, 1), (6, 9, 4, 1)])
    def test_axes_of_length_1_are_accepted(self, tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
        values = RNG.random(shape, dtype=np.float32)
        volume = NiftiReader()(saved(tmp_path / f"v{suffix}", values))
        np.testing.assert_array_equal(stacked(volume), values.reshape(6, 9, -1))

    def test_a_file_of_two_axes_is_one_slice_of_any_axis_or_plane(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "v.nii", VALUES[..., 0])
        for reader in (NiftiReader(axis=0), NiftiReader(plane="sagittal")):
            np.testing.assert_array_equal(stacked(reader(path)), VALUES[..., :1])

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_all_frames_follow_each_other_and_are_written_back_as_a_series(
        self, tmp_path: Path, suffix: str, axis: int
    ) -> None:
        series = RNG.random((6, 9, 4, 3), dtype=np.float32)
        volume = NiftiReader(axis=axis, frame="all")(saved(tmp_path / f"s{suffix}", series))
        assert len(volume) == series.shape[axis] * 3
        depth = series.shape[axis]
        np.testing.assert_array_equal(volume[depth + 2]["image"], series[..., 1].take(2, axis))
        write_volume(stacked(volume), tmp_path / "out.nii", volume)
        np.testing.assert_array_equal(np.asarray(nibabel.load(tmp_path / "out.nii").dataobj), series)

    def test_a_series_is_refused_with_the_options_that_resolve_it(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "s.nii", RNG.random((6, 9, 4, 3), dtype=np.float32))
        with pytest.raises(UserError, match=r"got a series of 3; set the reader option frame = 0 .*or frame = 'all'"):
            len(NiftiReader()(path))
        path = saved(tmp_path / "t.nii", RNG.random((6, 9, 4, 3, 2), dtype=np.float32))
        with pytest.raises(UserError, match=r"got the shape \(6, 9, 4, 3, 2\)"):
            len(NiftiReader(frame="all")(path))

    def test_a_slice_of_a_decompressed_volume_is_read_without_a_copy_of_the_volume(self, tmp_path: Path) -> None:
        values = RNG.random((64, 64, 48), dtype=np.float32)
        volume = NiftiReader()(saved(tmp_path / "v.nii.gz", values))
        volume[0]
        assert DECODED.get(id(volume)) is not None
        tracemalloc.start()
        try:
            volume[7]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < values.nbytes / 4, "a slice is 1/48 of the volume"


class TestPlanes:
    DIRECTIONS: ClassVar = {"axial": "PLS", "coronal": "ILP", "sagittal": "IPR"}
    """Directions in which rows, columns and slices are numbered."""

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    @pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
    @pytest.mark.parametrize("codes", ["RAS", "LPI", "ASR", "PIL", "SLA", "IRP"])
    def test_rows_and_columns_have_the_directions_of_the_plane(
        self, tmp_path: Path, codes: str, plane: Plane, suffix: str
    ) -> None:
        """Oracle: nibabel turns the array of the file, whose affine is slightly oblique, to these directions."""
        turn = nibabel.affines.from_matvec(nibabel.eulerangles.euler2mat(0.1, -0.07, 0.05), [1, -2, 3])
        spaced = turn @ np.diag([2.0, 3, 4, 1])
        to_codes = nibabel.orientations.ornt_transform(
            nibabel.io_orientation(spaced), nibabel.orientations.axcodes2ornt(codes)
        )
        stored = nibabel.Nifti1Image(VALUES, spaced).as_reoriented(to_codes)
        nibabel.save(stored, tmp_path / f"v{suffix}")
        assert "".join(nibabel.aff2axcodes(stored.affine)) == codes
        volume = NiftiReader(plane=plane)(tmp_path / f"v{suffix}")
        wanted = nibabel.orientations.ornt_transform(
            nibabel.io_orientation(stored.affine), nibabel.orientations.axcodes2ornt(self.DIRECTIONS[plane])
        )
        expected = stored.as_reoriented(wanted)
        assert len(volume) == expected.shape[2]
        np.testing.assert_array_equal(stacked(volume), np.asarray(expected.dataobj))
        np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-5)
        assert "".join(nibabel.aff2axcodes(volume.affine)) == self.DIRECTIONS[plane]

    @pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
    def test_results_are_written_in_the_orientation_of_the_file(self, tmp_path: Path, plane: Plane) -> None:
        """Columns of the affine: axis 0 points to anterior, axis 1 to the left, axis 2 to superior."""
        volume = NiftiReader(plane=plane)(saved(tmp_path / "v.nii.gz", VALUES))
        write_volume(stacked(volume), tmp_path / "out.nii", volume)
        result = nibabel.load(tmp_path / "out.nii")
        np.testing.assert_array_equal(np.asarray(result.dataobj), VALUES)
        np.testing.assert_allclose(result.affine, OBLIQUE, atol=1e-6)
        copy = pickle.loads(pickle.dumps(volume))
        np.testing.assert_array_equal(copy[1]["image"], volume[1]["image"])

    def test_series_are_oriented_frame_by_frame(self, tmp_path: Path) -> None:
        series = RNG.random((6, 9, 4, 3), dtype=np.float32)
        volume = NiftiReader(frame="all", plane="coronal")(saved(tmp_path / "s.nii", series))
        frames = [NiftiReader(frame=frame, plane="coronal")(tmp_path / "s.nii") for frame in range(3)]
        np.testing.assert_array_equal(stacked(volume), np.concatenate([stacked(frame) for frame in frames], -1))
        write_volume(stacked(volume), tmp_path / "out.nii", volume)
        np.testing.assert_array_equal(np.asarray(nibabel.load(tmp_path / "out.nii").dataobj), series)

    def test_a_resampled_slice_keeps_its_centre_and_field_of_view(self, tmp_path: Path) -> None:
        volume = NiftiReader(plane="sagittal")(saved(tmp_path / "v.nii", VALUES))
        height, width = volume[0]["image"].shape
        resampled = np.ones((2 * height, width + 1, len(volume)), np.float32)
        write_volume(resampled, tmp_path / "out.nii", volume)
        affine = nibabel.load(tmp_path / "out.nii").affine
        shape = np.array(nibabel.load(tmp_path / "out.nii").shape)
        np.testing.assert_allclose(affine[:3, :3] * shape, OBLIQUE[:3, :3] * VALUES.shape, atol=1e-5)
        turned = nibabel.load(tmp_path / "out.nii").as_reoriented(
            nibabel.orientations.ornt_transform(
                nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt("IPR")
            )
        )
        middle = [height, (width + 1) // 2, 1, 1]
        np.testing.assert_allclose(turned.affine @ middle, volume.affine @ [height // 2, width // 2, 1, 1], atol=1e-4)

    def test_an_affine_that_determines_no_plane_is_refused(self, tmp_path: Path) -> None:
        image = nibabel.Nifti1Image(VALUES, None)
        image.header.set_sform(np.diag([2.0, 0, 4, 1]), 1)
        path = tmp_path / "v.nii"
        nibabel.save(image, path)
        with pytest.raises(UserError, match="does not determine the axial plane; set the reader option axis"):
            len(NiftiReader(plane="axial")(path))

    def test_axis_and_plane_exclude_each_other(self) -> None:
        with pytest.raises(UserError, match="expected axis or plane, got axis = 0 and plane = 'axial'"):
            NiftiReader(axis=0, plane="axial")


class TestFormats:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("v.mgh", nibabel.MGHImage),
            ("v.mgz", nibabel.MGHImage),
            ("v.hdr", nibabel.Nifti1Pair),
            ("v.nii", nibabel.Nifti2Image),
        ],
    )
    @pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # nibabel leaves .mgh files open
    def test_values_and_affine_survive(self, tmp_path: Path, name: str, kind: Any) -> None:
        rigid = nibabel.affines.from_matvec(np.diag([2.0, 3, 4])[[1, 0, 2]], [5, -7, 1])
        volume = NiftiReader(axis=1)(saved(tmp_path / name, VALUES, rigid, kind))
        assert volume.name == "v"
        np.testing.assert_array_equal(stacked(volume), np.moveaxis(VALUES, 1, -1))
        for output in ("out.nii.gz", "out.mgz"):
            write_volume(stacked(volume), tmp_path / output, volume)
            result = nibabel.load(tmp_path / output)
            np.testing.assert_array_equal(np.asarray(result.dataobj), VALUES)
            np.testing.assert_allclose(result.affine, rigid, atol=1e-5)

    @pytest.mark.parametrize("kind", [nibabel.AnalyzeImage, nibabel.Spm99AnalyzeImage])
    def test_analyze_pairs_are_read_with_spacing_and_orientation(self, tmp_path: Path, kind: Any) -> None:
        """The first axis of Analyze runs to the left; the header stores no other orientation."""
        path = saved(tmp_path / "v.hdr", VALUES, np.diag([-2.0, 3, 4, 1]), kind)
        volume = NiftiReader(axis=1)(path)
        write_volume(stacked(volume), tmp_path / "out.nii", volume)
        result = nibabel.load(tmp_path / "out.nii")
        np.testing.assert_array_equal(np.asarray(result.dataobj), VALUES)
        np.testing.assert_allclose(result.header.get_zooms(), (2, 3, 4))
        assert nibabel.aff2axcodes(result.affine) == ("L", "A", "S")

    def test_a_header_without_its_data_is_refused(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "v.hdr", VALUES, kind=nibabel.Nifti1Pair)
        path.with_suffix(".img").unlink()
        with pytest.raises(UserError, match=r"v\.hdr"):
            NiftiReader()(path)[0]


def test_units_frame_time_and_codes_of_the_header_are_written_back(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image((RNG.random((6, 9, 4, 2)) * 99).astype(np.int16), OBLIQUE)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.5
    image.set_qform(OBLIQUE, 1)
    image.set_sform(OBLIQUE, 4)
    nibabel.save(image, tmp_path / "in.nii")
    volume = NiftiReader(frame="all")(tmp_path / "in.nii")
    write_volume(stacked(volume), tmp_path / "out.nii", volume)
    result = nibabel.load(tmp_path / "out.nii")
    assert result.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_allclose(result.header.get_zooms(), image.header.get_zooms(), rtol=1e-6)
    assert (int(result.header["qform_code"]), int(result.header["sform_code"])) == (1, 4)
    assert result.get_data_dtype() == np.float32
