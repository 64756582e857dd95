"""Complex slices in HDF5 stay complex; other files are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from i2ikd_mri.readers.complex_hdf5 import ComplexHdf5Reader

RNG = np.random.default_rng(3)
COMPLEX = (RNG.random((3, 6, 9)) + 1j * RNG.random((3, 6, 9))).astype(np.complex64)


class TestComplexHdf5:
    def test_slices_come_first_and_stay_complex(self, tmp_path: Path, write_hdf5: Callable[..., Path]) -> None:
        volume = ComplexHdf5Reader()(write_hdf5(tmp_path / "c.hdf5", image=COMPLEX.astype(np.complex128)))
        assert (volume.name, len(volume)) == ("c", 3)
        assert volume[1]["image"].dtype == np.complex64
        np.testing.assert_array_equal(volume[1]["image"], COMPLEX[1])

    def test_the_key_is_an_option(
        self, tmp_path: Path, message: Callable[..., str], write_hdf5: Callable[..., Path]
    ) -> None:
        path = write_hdf5(tmp_path / "c.h5", slices=COMPLEX[0])
        assert ComplexHdf5Reader(key="slices")(path)[0]["image"].shape == (6, 9)
        assert "it holds 'slices'" in message(ComplexHdf5Reader(), path)

    def test_a_real_image_is_refused(
        self, tmp_path: Path, message: Callable[..., str], write_hdf5: Callable[..., Path]
    ) -> None:
        assert "expected complex values" in message(
            ComplexHdf5Reader(), write_hdf5(tmp_path / "c.h5", image=COMPLEX.real)
        )
