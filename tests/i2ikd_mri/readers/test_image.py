"""ImageReader: a file is a slice or a stack, a folder is a volume, and errors are one line that names the file."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from i2ikd_mri.readers.image import ImageReader
from PIL import Image

from i2ikd import UserError

RNG = np.random.default_rng(3)
STACK = RNG.random((6, 9, 4), dtype=np.float32)  # H, W, slices: no two alike
COMPLEX = (RNG.random((3, 6, 9)) + 1j * RNG.random((3, 6, 9))).astype(np.complex64)


class TestImage:
    GREY = (RNG.random((6, 9)) * 255).astype(np.uint8)

    def test_a_png_is_one_slice_with_its_values(self, tmp_path: Path) -> None:
        deep = (RNG.random((6, 9)) * 65535).astype(np.uint16)
        Image.fromarray(self.GREY).save(tmp_path / "grey.png")
        Image.fromarray(deep).save(tmp_path / "deep.png")
        for name, values in (("grey", self.GREY), ("deep", deep)):
            volume = ImageReader()(tmp_path / f"{name}.png")
            assert (volume.name, len(volume)) == (name, 1)
            np.testing.assert_array_equal(volume[0]["image"], values.astype(np.float32))

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA"])
    def test_colours_are_converted_to_luminance(self, tmp_path: Path, mode: str) -> None:
        colours = (RNG.random((6, 9, 3)) * 255).astype(np.uint8)
        picture = Image.fromarray(colours).convert(mode)
        picture.save(tmp_path / "c.png")
        stored = np.asarray(picture.convert("RGB"), np.float64)
        weights = [0.2125, 0.7154, 0.0721]
        np.testing.assert_allclose(ImageReader()(tmp_path / "c.png")[0]["image"], stored @ weights, rtol=1e-4)

    def test_each_page_of_a_tiff_is_a_slice(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "pages.tif", STACK.transpose(2, 0, 1), photometric="minisblack")
        tifffile.imwrite(tmp_path / "colour.tiff", np.stack([self.GREY] * 3, -1), photometric="rgb")
        pages = ImageReader()(tmp_path / "pages.tif")
        assert len(pages) == 4
        np.testing.assert_array_equal(pages[3]["image"], STACK[:, :, 3])
        colour = ImageReader()(tmp_path / "colour.tiff")
        assert len(colour) == 1
        np.testing.assert_allclose(colour[0]["image"], self.GREY, rtol=1e-5)

    def test_numpy_files_hold_one_slice_or_a_stack(self, tmp_path: Path) -> None:
        np.save(tmp_path / "one.npy", self.GREY)
        np.save(tmp_path / "three.npy", COMPLEX)
        assert len(ImageReader()(tmp_path / "one.npy")) == 1
        stack = ImageReader()(tmp_path / "three.npy")
        assert len(stack) == 3
        np.testing.assert_array_equal(stack[1]["image"], COMPLEX[1])
        copy = pickle.loads(pickle.dumps(stack))
        np.testing.assert_array_equal(copy[2]["image"], COMPLEX[2])

    def test_nothing_is_unpickled(self, tmp_path: Path, message: Callable[..., str]) -> None:
        path = tmp_path / "trap.npy"
        np.save(path, np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
        message(ImageReader(), path)

    @pytest.mark.parametrize("values", [np.float32(2), np.zeros((2, 2, 2, 2)), np.zeros((0, 4)), np.array([["a"]])])
    def test_misshapen_numpy_files_are_refused(
        self, tmp_path: Path, values: np.ndarray, message: Callable[..., str]
    ) -> None:
        np.save(tmp_path / "v.npy", values)
        message(ImageReader(), tmp_path / "v.npy")

    @pytest.mark.parametrize("name", ["v.png", "v.tif", "v.npy"])
    def test_damaged_files_are_refused(self, tmp_path: Path, name: str, message: Callable[..., str]) -> None:
        path = tmp_path / name
        assert "no such file" in message(ImageReader(), path)
        path.write_bytes(b"no picture at all")
        message(ImageReader(), path)
        noise = (RNG.random((40, 50)) * 255).astype(np.uint8)
        if name == "v.npy":
            np.save(path, noise)
        elif name == "v.tif":
            tifffile.imwrite(path, noise)
        else:
            Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:300])
        message(ImageReader(), path)

    def test_a_folder_is_a_volume_in_natural_order(self, tmp_path: Path) -> None:
        folder = tmp_path / "patient"
        folder.mkdir()
        for number in (10, 2, 1):
            Image.fromarray(np.full((6, 9), number, np.uint8)).save(folder / f"s{number}.png")
        (folder / "notes.txt").write_text("")
        volume = ImageReader()(folder)
        assert (volume.name, len(volume)) == ("patient", 3)
        assert [s["image"][0, 0] for s in volume] == [1, 2, 10]

    def test_slices_of_a_folder_have_one_size(self, tmp_path: Path) -> None:
        Image.fromarray(self.GREY).save(tmp_path / "a.png")
        Image.fromarray(self.GREY.T.copy()).save(tmp_path / "b.png")
        tifffile.imwrite(tmp_path / "c.tif", np.zeros((2, 6, 9), np.uint8), photometric="minisblack")
        with pytest.raises(UserError, match=r"b\.png: expected the shape \(6, 9\) of a\.png, got \(9, 6\)"):
            ImageReader()(tmp_path)[1]
        with pytest.raises(UserError, match=r"c\.tif: expected 1 slice, .* got 2"):
            ImageReader()(tmp_path)[2]
