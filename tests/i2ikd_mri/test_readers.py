"""Readers return every slice of a file, open it once in a process, and raise errors of one line."""

from __future__ import annotations

import gc
import gzip
import math
import multiprocessing
import os
import pickle
from operator import methodcaller
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
from i2ikd_mri.readers.complex_hdf5 import ComplexHdf5Reader
from i2ikd_mri.readers.hdf5 import Hdf5File, Hdf5Stack
from i2ikd_mri.readers.kdmri import KdMriReader, KdMriVolume
from i2ikd_mri.readers.nifti import NiftiReader

from i2ikd import BoundedCache, UserError
from i2ikd.source import Volume

RNG = np.random.default_rng(3)
STACK = RNG.random((6, 9, 4), dtype=np.float32)  # H, W, slices: no two alike
COMPLEX = (RNG.random((3, 6, 9)) + 1j * RNG.random((3, 6, 9))).astype(np.complex64)


def write_hdf5(path: Path, **datasets: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file.create_dataset(name, data=values)
    return path


@pytest.fixture
def kdmri(tmp_path: Path) -> Path:
    kspace = np.fft.fft2(STACK, axes=(0, 1)).astype(np.complex64)
    return write_hdf5(tmp_path / "v1.h5", volfs=STACK, img_volus_4x=0.5 * STACK, kspace_volus_4x=kspace)


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the opened HDF5 files, in order."""
    calls: list[str] = []
    real = h5py.File

    def counting(path: Path, mode: str) -> h5py.File:
        calls.append(Path(path).name)
        return real(path, mode)

    monkeypatch.setattr("i2ikd_mri.readers.hdf5.h5py.File", counting)
    return calls


def message(reader: object, path: Path, index: int = 0) -> str:
    with pytest.raises(UserError) as caught:
        volume = reader(path)  # type: ignore[operator]
        len(volume)
        volume[index]
    text = str(caught.value)
    assert "\n" not in text
    assert path.name in text
    return text


class TestKdMri:
    def test_volfs_alone_is_a_volume(self, tmp_path: Path) -> None:
        volume = KdMriReader()(write_hdf5(tmp_path / "v.h5", volfs=STACK))
        assert isinstance(volume, Volume)
        assert (volume.name, len(volume)) == ("v", 4)
        assert [sorted(s) for s in volume] == [["image"]] * 4
        np.testing.assert_array_equal(volume[2]["image"], STACK[:, :, 2])
        np.testing.assert_array_equal(volume[-1]["image"], STACK[:, :, 3])
        assert volume[0]["image"].dtype == np.float32
        assert volume[0]["image"].flags.c_contiguous

    def test_a_file_without_a_slice_axis_is_one_slice(self, tmp_path: Path) -> None:
        volume = KdMriReader()(write_hdf5(tmp_path / "knee.h5", volfs=STACK[:, :, 1].astype(np.float64)))
        assert len(volume) == 1
        np.testing.assert_array_equal(volume[0]["image"], STACK[:, :, 1])

    def test_acceleration_selects_the_stored_pair(self, kdmri: Path) -> None:
        fields = KdMriReader(acceleration=4)(kdmri)[3]
        np.testing.assert_array_equal(fields["undersampled"], 0.5 * STACK[:, :, 3])
        assert fields["kspace"].dtype == np.complex64
        np.testing.assert_allclose(np.fft.ifft2(fields["kspace"]).real, STACK[:, :, 3], atol=1e-5)

    def test_a_missing_pair_is_named_with_the_stored_datasets(self, kdmri: Path) -> None:
        text = message(KdMriReader(acceleration=8), kdmri)
        assert "'img_volus_8x'" in text
        assert "'img_volus_4x', 'kspace_volus_4x', 'volfs'" in text

    def test_a_pair_of_another_shape_is_refused(self, tmp_path: Path) -> None:
        path = write_hdf5(
            tmp_path / "v.h5", volfs=STACK, img_volus_5x=STACK[:5], kspace_volus_5x=STACK.astype(np.complex64)
        )
        assert "'img_volus_5x'" in message(KdMriReader(acceleration=5), path)
        assert len(KdMriReader()(path)) == 4

    def test_new_data_may_lack_the_fully_sampled_image(self, tmp_path: Path) -> None:
        pair = {"img_volus_5x": STACK, "kspace_volus_5x": STACK.astype(np.complex64)}
        path = write_hdf5(tmp_path / "v.h5", **pair)
        volume = KdMriReader(acceleration=5)(path)
        assert len(volume) == 4
        assert sorted(volume[1]) == ["kspace", "undersampled"]
        assert "no dataset 'volfs'" in message(KdMriReader(), path)
        assert "no dataset 'img_volus_4x'" in message(KdMriReader(acceleration=4), path)

    def test_a_real_kspace_is_refused(self, tmp_path: Path) -> None:
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
    def test_an_array_that_is_not_a_volume_is_refused(self, tmp_path: Path, values: np.ndarray, expected: str) -> None:
        text = message(KdMriReader(), write_hdf5(tmp_path / "v.h5", volfs=values))
        assert expected in text
        assert "'volfs'" in text

    def test_a_truncated_file_is_refused(self, kdmri: Path) -> None:
        kdmri.write_bytes(kdmri.read_bytes()[:-200])
        assert "truncated" in message(KdMriReader(), kdmri)

    def test_a_file_that_is_not_hdf5_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "v.h5"
        path.write_text("volfs")
        assert "not an HDF5 file" in message(KdMriReader(), path)
        assert "no such file" in message(KdMriReader(), tmp_path / "absent.h5")

    def test_a_damaged_chunk_is_refused(self, tmp_path: Path) -> None:
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


class TestOpenFiles:
    def test_a_file_is_opened_once_and_only_when_used(self, kdmri: Path, opens: list[str]) -> None:
        volume = KdMriReader(acceleration=4)(kdmri)
        assert opens == []
        for _ in range(3):
            assert len([s["kspace"] for s in volume]) == 4
        assert opens == ["v1.h5"]
        assert volume.file.opens == 1

    def test_pickling_drops_the_handle(self, kdmri: Path) -> None:
        volume = KdMriReader()(kdmri)
        volume[0]
        copy = pickle.loads(pickle.dumps(volume))
        assert copy.file.opens == 0
        np.testing.assert_array_equal(copy[1]["image"], volume[1]["image"])
        assert (copy.file.opens, volume.file.opens) == (1, 1)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_a_forked_worker_opens_its_own_handle(self, kdmri: Path) -> None:
        volume = KdMriReader()(kdmri)
        volume[0]
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        worker = context.Process(target=_read_all, args=(volume, queue))
        worker.start()
        total, opened = queue.get(timeout=30)
        worker.join()
        assert total == pytest.approx(float(STACK.sum()), rel=1e-5)
        assert opened == 1
        np.testing.assert_array_equal(volume[3]["image"], STACK[:, :, 3])
        assert volume.file.opens == 1

    def test_open_files_stay_within_the_limit(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opens: list[str]
    ) -> None:
        cache = BoundedCache[Any](math.inf, policy="evict", max_items=2, on_removal=methodcaller("close"))
        monkeypatch.setattr("i2ikd_mri.readers.hdf5.OPEN_FILES", cache)
        volumes = [KdMriReader()(write_hdf5(tmp_path / f"{i}.h5", volfs=STACK + i)) for i in range(3)]
        opens.clear()
        for volume in volumes:
            volume[0]
        assert [v.file.is_open for v in volumes] == [False, True, True]
        volumes[1].file.opened()
        volumes[0].file.opened()
        assert opens == ["0.h5", "1.h5", "2.h5", "0.h5"]
        assert [v.file.is_open for v in volumes] == [True, True, False]

    def test_a_file_is_closed_when_its_volume_is_deleted(self, kdmri: Path) -> None:
        volume = KdMriReader()(kdmri)
        handle = volume.file.opened()
        assert handle.id.valid
        del volume
        gc.collect()
        assert not handle.id.valid


def _read_all(volume: KdMriVolume, queue: multiprocessing.Queue) -> None:
    total = sum(float(s["image"].sum()) for s in volume)
    queue.put((total, volume.file.opens))


class TestChunks:
    @pytest.mark.parametrize("chunks", [None, (6, 9, 1), (3, 9, 3), (6, 9, 4)])
    def test_every_layout_returns_the_same_slices(self, tmp_path: Path, chunks: tuple[int, ...] | None) -> None:
        path = tmp_path / "v.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("volfs", data=STACK, chunks=chunks)
        stack = Hdf5Stack(Hdf5File(path), "volfs", 2)
        for index in (3, 0, 2, 1, 1):
            np.testing.assert_array_equal(stack[index], STACK[:, :, index])

    @pytest.mark.parametrize(("chunk", "reads"), [(1, 6), (4, 2)])
    def test_a_chunk_of_several_slices_is_read_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, reads: int
    ) -> None:
        path = tmp_path / "v.h5"
        values = RNG.random((6, 5, 7))
        with h5py.File(path, "w") as file:
            file.create_dataset("image", data=values, chunks=(chunk, 5, 7), compression="gzip")
        stack = Hdf5Stack(Hdf5File(path), "image", 0)
        calls = []
        real = Hdf5Stack._read
        monkeypatch.setattr(Hdf5Stack, "_read", lambda self, s: calls.append(s) or real(self, s))
        np.testing.assert_allclose([stack[i] for i in range(6)], values, rtol=1e-6)
        assert len(calls) == reads

    def test_interleaved_slices_of_a_contiguous_dataset_are_read_together(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with h5py.File(tmp_path / "v.h5", "w") as file:
            file.create_dataset("volfs", data=STACK)
        stack = Hdf5Stack(Hdf5File(tmp_path / "v.h5"), "volfs", 2)
        calls = []
        real = Hdf5Stack._read
        monkeypatch.setattr(Hdf5Stack, "_read", lambda self, s: calls.append(s) or real(self, s))
        for index in (3, 0, 2, 1, 1):
            np.testing.assert_array_equal(stack[index], STACK[:, :, index])
        assert len(calls) == 1
        limit_mib = 4 * 2 * STACK[:, :, 0].nbytes / 2**20
        monkeypatch.setattr("i2ikd_mri.readers.hdf5.DECODED", BoundedCache[Any](limit_mib, policy="evict"))
        calls.clear()
        small = Hdf5Stack(Hdf5File(tmp_path / "v.h5"), "volfs", 2)
        np.testing.assert_array_equal([small[i] for i in range(len(small))], np.moveaxis(STACK, 2, 0))
        assert len(calls) == -(-len(small) // 2), "two slices at a time"


class TestComplexHdf5:
    def test_slices_come_first_and_stay_complex(self, tmp_path: Path) -> None:
        volume = ComplexHdf5Reader()(write_hdf5(tmp_path / "c.hdf5", image=COMPLEX.astype(np.complex128)))
        assert (volume.name, len(volume)) == ("c", 3)
        assert volume[1]["image"].dtype == np.complex64
        np.testing.assert_array_equal(volume[1]["image"], COMPLEX[1])

    def test_the_key_is_an_option(self, tmp_path: Path) -> None:
        path = write_hdf5(tmp_path / "c.h5", slices=COMPLEX[0])
        assert ComplexHdf5Reader(key="slices")(path)[0]["image"].shape == (6, 9)
        assert "it holds 'slices'" in message(ComplexHdf5Reader(), path)

    def test_a_real_image_is_refused(self, tmp_path: Path) -> None:
        assert "expected complex values" in message(
            ComplexHdf5Reader(), write_hdf5(tmp_path / "c.h5", image=COMPLEX.real)
        )


class TestNifti:
    AFFINE = np.diag([2.0, 3.0, 4.0, 1.0])

    def write(self, path: Path, values: np.ndarray) -> Path:
        nibabel.save(nibabel.Nifti1Image(values, self.AFFINE), path)
        return path

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_any_axis_can_be_the_slice_axis(self, tmp_path: Path, suffix: str, axis: int) -> None:
        volume = NiftiReader(axis=axis)(self.write(tmp_path / f"sub-01.T2{suffix}", STACK))
        assert volume.name == "sub-01.T2"
        assert len(volume) == STACK.shape[axis]
        for index in (2, 0):
            np.testing.assert_array_equal(volume[index]["image"], STACK.take(index, axis))
        np.testing.assert_array_equal(volume.affine, self.AFFINE)

    def test_scaled_integers_are_converted_to_values(self, tmp_path: Path) -> None:
        image = nibabel.Nifti1Image((STACK * 1000).astype(np.int16), self.AFFINE)
        image.header.set_slope_inter(0.5, 10)
        nibabel.save(image, tmp_path / "v.nii")
        stored = np.asarray(nibabel.load(tmp_path / "v.nii").get_fdata())
        np.testing.assert_allclose(NiftiReader()(tmp_path / "v.nii")[1]["image"], stored[:, :, 1], rtol=1e-6)

    def test_a_series_needs_a_frame(self, tmp_path: Path) -> None:
        series = np.stack([STACK, STACK + 1], axis=3)
        for path in (self.write(tmp_path / "s.nii", series), self.write(tmp_path / "s.nii.gz", series)):
            assert "frame = 0" in message(NiftiReader(), path)
            assert "no frame 2" in message(NiftiReader(frame=2), path)
            np.testing.assert_array_equal(NiftiReader(frame=1)(path)[2]["image"], STACK[:, :, 2] + 1)

    def test_a_compressed_file_is_decompressed_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = self.write(tmp_path / "v.nii.gz", STACK)
        volume = NiftiReader()(path)
        len(volume)
        starts = []
        real = gzip.GzipFile.__init__
        monkeypatch.setattr(gzip.GzipFile, "__init__", lambda self, *a, **k: starts.append(1) or real(self, *a, **k))
        for _ in range(2):
            assert len(list(volume)) == 4
        assert len(starts) <= 1
        copy = pickle.loads(pickle.dumps(volume))
        np.testing.assert_array_equal(copy[3]["image"], STACK[:, :, 3])

    @pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
    def test_a_truncated_file_is_refused(self, tmp_path: Path, suffix: str) -> None:
        path = self.write(tmp_path / f"v{suffix}", RNG.random((20, 30, 10)))
        path.write_bytes(path.read_bytes()[:5000])
        assert "truncated" in message(NiftiReader(), path, 9)

    def test_a_file_that_is_not_nifti_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "v.nii"
        path.write_bytes(bytes(500))
        assert "not a NIfTI" in message(NiftiReader(), path)
        assert "no such file" in message(NiftiReader(), tmp_path / "absent.nii")
