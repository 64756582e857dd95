"""Coil maps by ESPIRiT, computed by sigpy."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from i2ikd import UserError
from i2ikd_mri.coils.calibration import calibration_size, central_part
from i2ikd_mri.coils.maps import CoilMaps
from i2ikd_mri.fourier import PLANE


class Espirit(CoilMaps):
    """First set of ESPIRiT's maps, by sigpy (``pip install "i2ikd[espirit]"``); seconds for each slice.

    Source: Uecker et al. 2014, ESPIRiT, Magn. Reson. Med. 71.

    Args:
        calibration: most samples of each axis of the calibration region that are used.
        kernel: side of the kernels in samples; less than the calibration region.
        threshold: share of the largest singular value from which on a kernel counts as signal.
        crop: eigenvalue below which a pixel has no map, 0..1; 0: all pixels have one.
    """

    def __init__(
        self,
        calibration: PositiveInt = 24,
        kernel: PositiveInt = 6,
        threshold: Annotated[float, Field(gt=0, lt=1)] = 0.02,
        crop: Annotated[float, Field(ge=0, le=1)] = 0.0,
    ) -> None:
        self.calibration = calibration
        self.kernel = kernel
        self.threshold = threshold
        self.crop = crop

    def estimate(self, measured: Tensor, mask: Tensor, centered: bool, stored: Tensor | None) -> Tensor:
        """Return the maps of sigpy; see ``CoilMaps``."""
        try:
            from sigpy.mri.app import EspiritCalib
        except ImportError as error:
            raise UserError("coil maps 'espirit' need sigpy: pip install 'i2ikd[espirit]'") from error
        height, width = measured.shape[-2:]
        extent = min(self.calibration, *calibration_size(mask, (height, width), centered))
        if extent <= self.kernel:
            raise UserError(
                f"coil maps 'espirit': expected a calibration region larger than the kernel of {self.kernel} samples, "
                f"got {extent}; measure more of the centre, lower the option kernel, or set maps = 'low-resolution'"
            )
        centred = central_part(measured, (height, width), centered)
        maps = EspiritCalib(
            centred.numpy(),
            calib_width=extent,
            thresh=self.threshold,
            kernel_width=self.kernel,
            crop=self.crop,
            show_pbar=False,
        ).run()
        result = torch.from_numpy(maps)
        return result if centered else torch.fft.ifftshift(result, PLANE)
