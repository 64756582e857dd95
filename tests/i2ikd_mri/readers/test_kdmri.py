"""KD-MRI's files are read slice by slice, with a stored pair on request, and refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from i2ikd_mri.readers.kdmri import KdMriReader

from i2ikd import UserError
from i2ikd.source import Volume

RNG = np.random.default_rng(3)
STACK = RNG.random((6, 9, 4), dtype=np.float32)  # H, W, slices: no two alike


@pytest.fixture
def kdmri(tmp_path: Path, write_hdf5: Callable[..., Path]) -> Path:
    kspace = np.fft.fft2(STACK, axes=(0, 1)).astype(np.complex64)
    return write_hdf5(tmp_path / "v1.h5", volfs=STACK, img_volus_4x=0.5 * STACK, kspace_volus_4x=kspace)


class TestKdMri:
    def test_volfs_alone_is_a_volume(self, tmp_path: Path, write_hdf5: Callable[..., Path]) -> None:
        volume = KdMriReader()(write_hdf5(tmp_path / "v.h5", volfs=STACK))
        assert isinstance(volume, Volume)
        assert (volume.name, len(volume)) == ("v", 4)
        assert [sorted(s) for s in volume] == [["image"]] * 4
        np.testing.assert_array_equal(volume[2]["image"], STACK[:, :, 2])
        np.testing.assert_array_equal(volume[-1]["image"], STACK[:, :, 3])
        assert volume[0]["image"].dtype == np.float32
        assert volume[0]["image"].flags.c_contiguous

    def test_a_file_without_a_slice_axis_is_one_slice(self, tmp_path: Path, write_hdf5: Callable[..., Path]) -> None:
        volume = KdMriReader()(write_hdf5(tmp_path / "knee.h5", volfs=STACK[:, :, 1].astype(np.float64)))
        assert len(volume) == 1
        np.testing.assert_array_equal(volume[0]["image"], STACK[:, :, 1])

    def test_acceleration_selects_the_stored_pair(self, kdmri: Path) -> None:
        fields = KdMriReader(acceleration=4)(kdmri)[3]
        np.testing.assert_array_equal(fields["undersampled"], 0.5 * STACK[:, :, 3])
        assert fields["kspace"].dtype == np.complex64
        np.testing.assert_allclose(np.fft.ifft2(fields["kspace"]).real, STACK[:, :, 3], atol=1e-5)

    def test_a_missing_pair_is_named_with_the_stored_datasets(self, kdmri: Path, message: Callable[..., str]) -> None:
        text = message(KdMriReader(acceleration=8), kdmri)
        assert "'img_volus_8x'" in text
        assert "'img_volus_4x', 'kspace_volus_4x', 'volfs'" in text

    def test_a_pair_of_another_shape_is_refused(
        self, tmp_path: Path, message: Callable[..., str], write_hdf5: Callable[..., Path]
    ) -> None:
        path = write_hdf5(
            tmp_path / "v.h5", volfs=STACK, img_volus_5x=STACK[:5], kspace_volus_5x=STACK.astype(np.complex64)
        )
        assert "'img_volus_5x'" in message(KdMriReader(acceleration=5), path)
        assert len(KdMriReader()(path)) == 4

    def test_new_data_may_lack_the_fully_sampled_image(
        self, tmp_path: Path, message: Callable[..., str], write_hdf5: Callable[..., Path]
    ) -> None:
        pair = {"img_volus_5x": STACK, "kspace_volus_5x": STACK.astype(np.complex64)}
        path = write_hdf5(tmp_path / "v.h5", **pair)
        volume = KdMriReader(acceleration=5)(path)
        assert len(volume) == 4
        assert sorted(volume[1]) == ["kspace", "undersampled"]
        assert "no dataset 'volfs'" in message(KdMriReader(), path)
        assert "no dataset 'img_volus_4x'" in message(KdMriReader(acceleration=4), path)

    def test_a_real_kspace_is_refused(
        self, tmp_path: Path, message: Callable[..., str], write_hdf5: Callable[..., Path]
    ) -> None:
        path = write_hdf5(tmp_path / "v.h5", volfs=STACK, img_volus_5x=STACK, kspace_volus_5x=STACK)
        assert "expected complex values" in message(KdMriReader(acceleration=5), path)

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (np.float32(3), "got the shape ()"),
            (np.zeros((4, 0, 2), np.float32), "(4, 0, 2)"),
            (np.zeros((2, 3, 4, 5), np.float32), "[H, W, slices]"),
            (np.array([[b"a", b"b"]]), "images are numbers"),
            (np.ones((4, 5), np.complex64), "expected real values"),
            (np.full((4, 5, 2), np.nan), "not finite"),
            (np.full((4, 5, 2), 1e300), "not finite"),
            (h5py.Empty("f4"), "got the shape none"),
        ],
    )
    def test_an_array_that_is_not_a_volume_is_refused(
        self,
        tmp_path: Path,
        values: np.ndarray,
        expected: str,
        message: Callable[..., str],
        write_hdf5: Callable[..., Path],
    ) -> None:
        text = message(KdMriReader(), write_hdf5(tmp_path / "v.h5", volfs=values))
        assert expected in text
        assert "'volfs'" in text

    def test_a_truncated_file_is_refused(self, kdmri: Path, message: Callable[..., str]) -> None:
        kdmri.write_bytes(kdmri.read_bytes()[:-200])
        assert "truncated" in message(KdMriReader(), kdmri)

    def test_a_file_that_is_not_hdf5_is_refused(self, tmp_path: Path, message: Callable[..., str]) -> None:
        path = tmp_path / "v.h5"
        path.write_text("volfs")
        assert "not an HDF5 file" in message(KdMriReader(), path)
        assert "no such file" in message(KdMriReader(), tmp_path / "absent.h5")

    def test_a_damaged_chunk_is_refused(self, tmp_path: Path, message: Callable[..., str]) -> None:
        path = tmp_path / "v.h5"
        with h5py.File(path, "w") as file:
            data = file.create_dataset("volfs", data=STACK, chunks=(6, 9, 1), compression="gzip")
            chunk = data.id.get_chunk_info(2)
        content = bytearray(path.read_bytes())
        content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
        path.write_bytes(content)
        volume = KdMriReader()(path)
        bad = [i for i in range(4) if not _reads(volume, i)]
        assert len(bad) == 1
        assert "damaged" in message(KdMriReader(), path, bad[0])


def _reads(volume: Volume, index: int) -> bool:
    try:
        volume[index]
    except UserError:
        return False
    return True
