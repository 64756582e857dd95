"""TIFF files by series and axes, with inverted values and colour maps; PNG files of 16 bits."""

from __future__ import annotations

import builtins
import pickle
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from i2ikd_mri.readers.image import ImageReader
from PIL import Image

from i2ikd import UserError

RNG = np.random.default_rng(5)
STACK = RNG.integers(0, 60000, (8, 6, 9)).astype(np.uint16)


def read(path: Path, **options: Any) -> np.ndarray:
    volume = ImageReader(**options)(path)
    return np.stack([volume[index]["image"] for index in range(len(volume))])


class TestAxes:
    @pytest.mark.parametrize(
        "options", [{"imagej": True}, {"ome": True}, {"metadata": None}, {}, {"imagej": True, "truncate": True}]
    )
    @pytest.mark.parametrize("byteorder", ["<", ">"])
    def test_a_stack_has_all_of_its_slices(self, tmp_path: Path, options: dict[str, Any], byteorder: Any) -> None:
        if options and "metadata" not in options:
            options = {**options, "metadata": {"axes": "ZYX"}}
        path = tmp_path / "v.tif"
        tifffile.imwrite(path, STACK, photometric="minisblack", byteorder=byteorder, **options)
        np.testing.assert_array_equal(read(path), STACK)

    @pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits"])
    @pytest.mark.parametrize("options", [{}, {"ome": True, "metadata": {"axes": "ZYX"}}])
    def test_compressed_pages_are_decoded(self, tmp_path: Path, compression: str, options: dict[str, Any]) -> None:
        path = tmp_path / "v.tif"
        tifffile.imwrite(path, STACK, photometric="minisblack", compression=compression, **options)
        np.testing.assert_array_equal(read(path), STACK)
        copy = pickle.loads(pickle.dumps(ImageReader()(path)))
        np.testing.assert_array_equal(copy[5]["image"], STACK[5])

    def test_pages_of_pillow_and_images_written_one_by_one_are_slices(self, tmp_path: Path) -> None:
        pages = [Image.fromarray(page) for page in STACK]
        pages[0].save(tmp_path / "pillow.tif", save_all=True, append_images=pages[1:])
        with tifffile.TiffWriter(tmp_path / "loop.tif") as file:
            for page in STACK:
                file.write(page, photometric="minisblack")
        for name in ("pillow.tif", "loop.tif"):
            np.testing.assert_array_equal(read(tmp_path / name), STACK)

    @pytest.mark.parametrize("compression", [None, "zlib"])
    def test_times_and_channels_are_chosen(self, tmp_path: Path, compression: str | None) -> None:
        series = RNG.integers(0, 255, (2, 4, 3, 6, 9)).astype(np.uint8)
        path = tmp_path / "v.tif"
        tifffile.imwrite(path, series, ome=True, metadata={"axes": "TZCYX"}, compression=compression)
        np.testing.assert_array_equal(read(path, time=1, channel=2), series[1, :, 2])
        for options, expected in (
            ({}, r"expected one time, got 2 \(axes TZCYX, .* set the reader option time = 0, or time = 'all' if"),
            ({"time": 0}, r"expected one channel, got 3 .* set the reader option channel = 0"),
            ({"time": 2, "channel": 0}, "no time 2 among 2"),
            ({"time": "all", "channel": 0}, "expected one axis of slices, got the axes TZCYX"),
        ):
            with pytest.raises(UserError, match=expected):
                len(ImageReader(**options)(path))

    @pytest.mark.parametrize(("axis", "option"), [("T", "time"), ("C", "channel")])
    def test_times_or_channels_can_be_the_slices(self, tmp_path: Path, axis: str, option: str) -> None:
        tifffile.imwrite(tmp_path / "v.tif", STACK, imagej=True, metadata={"axes": f"{axis}YX"})
        with pytest.raises(UserError, match=f"or {option} = 'all' if these are the slices"):
            read(tmp_path / "v.tif")
        np.testing.assert_array_equal(read(tmp_path / "v.tif", **{option: "all"}), STACK)

    def test_images_of_several_sizes_are_refused_unless_one_series_is_chosen(self, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "v.tif") as file:
            file.write(STACK, photometric="minisblack")
            file.write(STACK[0, :3, :3], photometric="minisblack")
        with pytest.raises(UserError, match=r"got 2 of the shapes \(8, 6, 9\), \(3, 3\); set the reader option series"):
            len(ImageReader()(tmp_path / "v.tif"))
        np.testing.assert_array_equal(read(tmp_path / "v.tif", series=0), STACK)
        np.testing.assert_array_equal(read(tmp_path / "v.tif", series=1), STACK[:1, :3, :3])

    def test_two_axes_without_a_meaning_are_refused(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "v.tif", np.zeros((2, 3, 6, 9), np.uint8), photometric="minisblack")
        with pytest.raises(UserError, match="expected one axis of slices"):
            len(ImageReader()(tmp_path / "v.tif"))


class TestPhotometric:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_white_is_zero_is_inverted(self, tmp_path: Path, dtype: type) -> None:
        stored = STACK.astype(dtype)
        tifffile.imwrite(tmp_path / "v.tif", stored, photometric="miniswhite")
        np.testing.assert_array_equal(read(tmp_path / "v.tif"), np.iinfo(dtype).max - stored.astype(np.float32))

    def test_inverted_values_without_a_white_are_refused(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "v.tif", STACK.astype(np.float32), photometric="miniswhite")
        with pytest.raises(UserError, match=r"inverted values \(WhiteIsZero\) of type float32 have no white"):
            read(tmp_path / "v.tif")

    def test_a_colour_map_is_applied(self, tmp_path: Path) -> None:
        indices = RNG.integers(0, 256, (6, 9)).astype(np.uint8)
        colours = RNG.integers(0, 65536, (3, 256)).astype(np.uint16)
        tifffile.imwrite(tmp_path / "v.tif", indices, photometric="palette", colormap=colours)
        expected = np.einsum("c,chw->hw", [0.2125, 0.7154, 0.0721], colours[:, indices].astype(np.float64))
        np.testing.assert_allclose(read(tmp_path / "v.tif")[0], expected, rtol=1e-5)

    @pytest.mark.parametrize("planarconfig", ["contig", "separate"])
    @pytest.mark.parametrize("alpha", [False, True])
    def test_colours_of_both_layouts_are_converted_to_luminance(
        self, tmp_path: Path, planarconfig: Any, alpha: bool
    ) -> None:
        colours = RNG.integers(0, 65536, (6, 9, 3 + alpha)).astype(np.uint16)
        stored = np.moveaxis(colours, -1, 0) if planarconfig == "separate" else colours
        extra = {"extrasamples": ["unassalpha"]} if alpha else {}
        tifffile.imwrite(tmp_path / "v.tif", stored, photometric="rgb", planarconfig=planarconfig, **extra)
        expected = colours[..., :3].astype(np.float64) @ [0.2125, 0.7154, 0.0721]
        np.testing.assert_allclose(read(tmp_path / "v.tif")[0], expected, rtol=1e-5)

    def test_colours_of_printing_are_refused(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "v.tif", np.zeros((6, 9, 4), np.uint8), photometric="separated")
        with pytest.raises(UserError, match="the colours SEPARATED are not supported"):
            read(tmp_path / "v.tif")


def test_a_missing_codec_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "v.tif", STACK, photometric="minisblack", compression="lzw")

    def refuse(page: object, **options: object) -> np.ndarray:
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    for kind in (tifffile.TiffPage, tifffile.TiffFrame):
        monkeypatch.setattr(kind, "asarray", refuse)
    with pytest.raises(UserError, match=r"LZW.* requires the 'imagecodecs' package \(pip install 'i2ikd\[tiff\]'\)"):
        read(tmp_path / "v.tif")


class TestDeepPng:
    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    def test_16_bits_stay_16_bits(self, tmp_path: Path, channels: int) -> None:
        values = RNG.integers(0, 65536, (6, 9, channels)).astype(np.uint16)
        (tmp_path / "v.png").write_bytes(imagecodecs.png_encode(values))
        colours = values[..., : 3 if channels > 2 else 1].astype(np.float64)
        expected = colours @ [0.2125, 0.7154, 0.0721] if channels > 2 else colours[..., 0]
        np.testing.assert_allclose(read(tmp_path / "v.png")[0], expected, rtol=1e-5)

    def test_colours_of_16_bits_without_a_decoder_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "v.png").write_bytes(imagecodecs.png_encode(np.zeros((6, 9, 3), np.uint16)))
        real = builtins.__import__

        def without(name: str, *arguments: Any, **options: Any) -> Any:
            if name == "imagecodecs":
                raise ImportError(name)
            return real(name, *arguments, **options)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(UserError, match="needs imagecodecs; pip install"):
            read(tmp_path / "v.png")
