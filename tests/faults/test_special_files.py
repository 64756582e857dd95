"""Files that are no files, lead to none, or declare what they cannot hold: one line, no waiting and no allocation."""

from __future__ import annotations

import gzip
import os
import socket
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
import tifffile
from i2ikd_mri.folder import FolderDataset
from i2ikd_mri.masks import MaskFile
from i2ikd_mri.readers.calgary import CalgaryCampinasReader
from i2ikd_mri.readers.image import ImageReader
from i2ikd_mri.readers.kdmri import KdMriReader
from i2ikd_mri.readers.named_hdf5 import NamedHdf5Reader
from i2ikd_mri.readers.nifti import NiftiReader
from i2ikd_mri.readers.opening import read_header
from PIL import Image

from i2ikd import Reader, UserError
from i2ikd.config_file import read_document
from i2ikd.files import read_json
from tests.faults.reader_files import READER_FILES, STACK

pytestmark = pytest.mark.timeout(60)


def pipe(path: Path) -> str:
    os.mkfifo(path)
    return "got a pipe"


def server_socket(path: Path) -> str:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path is limited to 107 characters
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)
    return "got a socket"


def device(path: Path) -> str:
    path.symlink_to("/dev/zero")
    return "got a device"


def loop(path: Path) -> str:
    path.symlink_to(path.name)
    return "cannot be opened: Too many levels"


def broken(path: Path) -> str:
    path.symlink_to("nowhere")
    return "no such file"


SPECIAL: list[Callable[[Path], str]] = [pipe, server_socket, device, loop, broken]


def refusal(reader: Reader, path: Path) -> str:
    with pytest.raises(UserError) as caught:
        volume = reader(path)
        len(volume)
        volume[0]
    assert path.name[:50] in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("make", SPECIAL)
@pytest.mark.parametrize("name", READER_FILES)
def test_what_is_no_file_is_refused_by_every_reader(name: str, make: Callable[[Path], str], tmp_path: Path) -> None:
    path = tmp_path / f"a{READER_FILES[name].suffix}"
    assert make(path) in refusal(READER_FILES[name].reader, path)


@pytest.mark.parametrize("name", READER_FILES)
def test_a_name_that_is_too_long_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / ("a" * 300 + READER_FILES[name].suffix)
    assert "the file cannot be opened: File name too long" in refusal(READER_FILES[name].reader, path)


@pytest.mark.parametrize("name", [name for name in READER_FILES if name != "dicom"])
def test_a_folder_with_the_name_of_a_file_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{READER_FILES[name].suffix}"
    path.mkdir()
    assert "expected a" in refusal(READER_FILES[name].reader, path)


@pytest.mark.parametrize("name", READER_FILES)
def test_names_that_are_not_utf8_work(name: str, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9" + READER_FILES[name].suffix.encode())
    READER_FILES[name].write(tmp_path / f"plain{READER_FILES[name].suffix}")
    (tmp_path / f"plain{READER_FILES[name].suffix}").rename(path)
    assert len(READER_FILES[name].reader(path)[0])


class TestOtherReadersOfFiles:
    @pytest.mark.parametrize("make", [pipe, device])
    @pytest.mark.parametrize("read", [read_document, read_json, lambda path: MaskFile(path)((8, 8))])
    def test_experiments_json_and_masks(
        self, read: Callable[[Path], object], make: Callable[[Path], str], tmp_path: Path
    ) -> None:
        expected = make(tmp_path / "a.npy")
        with pytest.raises(UserError, match=expected):
            read(tmp_path / "a.npy")

    def test_a_folder_of_data_with_a_pipe_is_read_without_it(self, tmp_path: Path) -> None:
        for split in ("train", "val", "test"):
            (tmp_path / split).mkdir()
            READER_FILES["nifti"].write(tmp_path / split / f"{split}.nii")
            pipe(tmp_path / split / "pipe.nii")
        dataset = FolderDataset(tmp_path)
        assert [len(dataset.volumes(split)) for split in ("train", "val", "test")] == [1, 1, 1]


class TestLinksInsideHdf5:
    """Every way from an HDF5 file to another file."""

    def file(self, path: Path, fill: Callable[[h5py.File], Any]) -> Path:
        with h5py.File(path, "w") as file:
            fill(file)
        return path

    @pytest.mark.parametrize("make", SPECIAL)
    def test_an_external_link(self, make: Callable[[Path], str], tmp_path: Path) -> None:
        expected = make(tmp_path / "target")
        path = self.file(tmp_path / "a.h5", lambda f: f.update({"volfs": h5py.ExternalLink("target", "volfs")}))
        with pytest.raises(UserError, match=expected):
            len(KdMriReader()(path))

    def test_an_external_link_behind_soft_links_and_in_another_file(self, tmp_path: Path) -> None:
        expected = pipe(tmp_path / "target")
        self.file(tmp_path / "b.h5", lambda f: f.update({"g": h5py.ExternalLink("target", "/")}))

        def fill(file: h5py.File) -> None:
            file["there"] = h5py.ExternalLink("b.h5", "/g")
            file["volfs"] = h5py.SoftLink("/there/volfs")

        with pytest.raises(UserError, match=expected):
            len(KdMriReader()(self.file(tmp_path / "a.h5", fill)))

    def test_soft_links_that_lead_to_each_other(self, tmp_path: Path) -> None:
        links = {"volfs": h5py.SoftLink("/other"), "other": h5py.SoftLink("/volfs")}
        assert "links in a row" in refusal(KdMriReader(), self.file(tmp_path / "a.h5", lambda f: f.update(links)))

    def test_external_storage(self, tmp_path: Path) -> None:
        def fill(file: h5py.File) -> None:
            file.create_dataset("volfs", (8, 8, 2), "f4", external=[(str(tmp_path / "target"), 0, 512)])

        path = self.file(tmp_path / "a.h5", fill)
        (tmp_path / "target").unlink(missing_ok=True)
        expected = device(tmp_path / "target")
        with pytest.raises(UserError, match=expected):
            len(KdMriReader()(path))

    def test_a_virtual_dataset(self, tmp_path: Path) -> None:
        layout = h5py.VirtualLayout((8, 8, 2), "f4")
        layout[:] = h5py.VirtualSource("target", "volfs", (8, 8, 2))
        path = self.file(tmp_path / "a.h5", lambda f: f.create_virtual_dataset("volfs", layout))
        expected = pipe(tmp_path / "target")
        with pytest.raises(UserError, match=expected):
            len(KdMriReader()(path))

    def test_links_to_intact_files_are_read(self, tmp_path: Path) -> None:
        READER_FILES["kdmri-hdf5"].write(tmp_path / "whole.h5")

        def fill(file: h5py.File) -> None:
            file["group/there"] = h5py.ExternalLink("whole.h5", "/")
            file["volfs"] = h5py.SoftLink("group/there/volfs")

        stored = KdMriReader()(self.file(tmp_path / "a.h5", fill))
        np.testing.assert_array_equal(stored[1]["image"], STACK[1])


class TestDeclaredSizes:
    """Nothing is allocated for values that a file cannot hold."""

    @pytest.mark.parametrize("chunks", [None, (64, 64, 64)])
    def test_a_sparse_hdf5_file(self, chunks: tuple[int, ...] | None, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "a.h5", "w") as file:
            for name, kind in (("volfs", "f4"), ("image", "f4")):
                file.create_dataset(name, (100_000, 100_000, 100), kind, chunks=chunks)
            file.create_dataset("kspace", (1000, 10_000, 10_000, 10), "f4", chunks=chunks and (1, 64, 64, 2))
        for reader in (KdMriReader(), NamedHdf5Reader(axes="slices height width"), CalgaryCampinasReader()):
            assert "which a file of" in refusal(reader, tmp_path / "a.h5")

    def test_a_nifti_header(self, tmp_path: Path) -> None:
        header = nibabel.Nifti1Header()
        header.set_data_shape((30_000, 30_000, 30_000))
        header.set_data_dtype(np.float32)
        header["vox_offset"], header["magic"] = 352, b"n+1"
        (tmp_path / "a.nii").write_bytes(header.binaryblock + bytes(1000))
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(1000)))
        for name in ("a.nii", "a.nii.gz"):
            assert "GiB of values, which a file of" in refusal(NiftiReader(), tmp_path / name)

    def test_a_gzip_file_with_more_than_its_header_declares(self, tmp_path: Path) -> None:
        intact = tmp_path / "a.nii"
        READER_FILES["nifti"].write(intact)
        bomb = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
        content = bomb.compress(intact.read_bytes())
        content += b"".join(bomb.compress(bytes(2**20)) for _ in range(80)) + bomb.flush()
        (tmp_path / "a.nii.gz").write_bytes(content)
        assert "it holds more than the" in refusal(NiftiReader(), tmp_path / "a.nii.gz")

    @pytest.mark.parametrize("kind", [nibabel.Nifti1Header, nibabel.Nifti2Header])
    @pytest.mark.parametrize("order", "<>")
    def test_extensions_of_a_compressed_nifti_header(self, kind: Any, order: str, tmp_path: Path) -> None:
        header = kind(endianness=order)
        header.set_data_shape((8, 8, 2))
        header["vox_offset"] = 2**30
        extension = struct.pack(f"{order}4b2i", 1, 0, 0, 0, 2**30 - 1024, 4)
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress(header.binaryblock + extension + bytes(1000)))
        assert "its values start after more than 64 MiB" in refusal(NiftiReader(), tmp_path / "a.nii.gz")

    def test_numpy_tiff_and_png_headers(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", STACK)
        content = (tmp_path / "a.npy").read_bytes().replace(b"(3, 12, 10), ", b"(3, 12, 9**9)"[:13])
        (tmp_path / "a.npy").write_bytes(content)
        refusal(ImageReader(), tmp_path / "a.npy")
        tifffile.imwrite(tmp_path / "a.tif", STACK[0], compression="zlib", photometric="minisblack")
        content = bytearray((tmp_path / "a.tif").read_bytes())
        with tifffile.TiffFile(tmp_path / "a.tif") as file:
            for name in ("ImageWidth", "ImageLength"):
                tag = file.pages[0].tags[name]  # type: ignore[union-attr]
                content[tag.offset + 8 : tag.offset + 12] = struct.pack("<I", 60_000)
                content[tag.offset + 2 : tag.offset + 4] = struct.pack("<H", 4)
        (tmp_path / "a.tif").write_bytes(bytes(content))
        assert "which a file of" in refusal(ImageReader(), tmp_path / "a.tif")
        Image.fromarray(STACK[0]).save(tmp_path / "a.png")
        content = bytearray((tmp_path / "a.png").read_bytes())
        content[16:24] = struct.pack(">II", 60_000, 60_000)
        (tmp_path / "a.png").write_bytes(bytes(content))
        assert "which a file of" in refusal(ImageReader(), tmp_path / "a.png")


def test_a_header_that_is_not_read_in_time_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.h5").write_bytes(b"a")
    monkeypatch.setattr("i2ikd_mri.readers.opening.LONGEST_HEADER", 0.05)
    released = threading.Event()
    with pytest.raises(UserError, match=r"a\.h5: its header was not read within 0\.05 seconds"):
        read_header(tmp_path / "a.h5", released.wait, "damaged")
    released.set()


def test_a_path_that_is_a_loop_of_links_is_one_line(comparison: Any, tmp_path: Path) -> None:
    run, data = comparison.run("students/student/seed0"), tmp_path / "a.npy"
    np.save(data, np.ones((32, 32), np.float32))
    for name in ("loop.toml", "loop.npy"):
        (tmp_path / name).symlink_to(name)
    assert "Too many levels of symbolic links" in comparison.command("data", tmp_path / "loop.toml").refusal
    error = comparison.command("infer", run, "--input", data, "--output", tmp_path / "loop.npy").refusal
    assert "loop.npy" in error and "I2IKD_TRACEBACK" not in error
