"""Reader of HDF5 and MATLAB 7.3 files whose datasets and axes are named by options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from i2ikd import UserError
from i2ikd_mri.readers import SUFFIXES, without_suffix
from i2ikd_mri.readers.axes import EXAMPLE, Axes, Side
from i2ikd_mri.readers.hdf5 import Hdf5File, Hdf5Stack
from i2ikd_mri.readers.opening import names_its_file


class NamedHdf5Reader:
    """Reader of the datasets of an HDF5 file by name, real or complex.

    Args:
        image: name of the fully sampled image; ``None``: the file has none. Where ``kspace`` is named too, a file of
            new data may lack it, and its slices have no ``image``.
        kspace: name of the k-space, complex: undersampled, or of several coils.
        undersampled: name of the undersampled image.
        maps: name of the coil maps.
        mask: name of the undersampling mask.
        axes: order of the axes, of ``slices``, ``coils``, ``height`` and ``width``: ``"slices height width"``. A
            dataset with fewer axes lacks the coils (``maps``: the slices), or coils and slices. In MATLAB files, the
            order in MATLAB: ``"height width slices"``. ``None``: the file has no dataset of more than two axes.

    Raises:
        UserError: ``axes`` is no order of these axes, or neither ``image`` nor ``kspace`` is named.
    """

    suffixes = SUFFIXES["hdf5"]

    def __init__(
        self,
        image: str | None = "image",
        kspace: str | None = None,
        undersampled: str | None = None,
        maps: str | None = None,
        mask: str | None = None,
        axes: str | None = None,
    ) -> None:
        named = {"image": image, "kspace": kspace, "undersampled": undersampled, "maps": maps, "mask": mask}
        self.keys = {field: key for field, key in named.items() if key is not None}
        if image is None and kspace is None:
            raise UserError("reader 'hdf5': expected the name of a dataset as image or kspace, got neither")
        self.axes = None if axes is None else Axes.parse(axes, "reader 'hdf5'")

    def __call__(self, path: Path) -> NamedHdf5Volume:
        """Return the volume of a file, which is opened on first use.

        Args:
            path: the file.

        Raises:
            UserError: on first use, if the file is truncated or not HDF5, a dataset is missing, or shapes differ.
        """
        return NamedHdf5Volume(Path(path), self.keys, self.axes)


@names_its_file
class NamedHdf5Volume:
    """Volume of one HDF5 file.

    Args:
        path: the file.
        keys: names of the datasets by field.
        axes: order of the axes; ``None``: every dataset has two axes.
    """

    def __init__(self, path: Path, keys: Mapping[str, str], axes: Axes | None) -> None:
        self.name = without_suffix(path.name, SUFFIXES["hdf5"])
        self.file = Hdf5File(path)
        self.path = path
        self._stated = axes is not None
        self._axes = order = axes or Axes(("height", "width"))
        self._stacks = {
            field: Hdf5Stack(self.file, key, order, _kinds(field), first="slices" if field == "maps" else "coils")
            for field, key in keys.items()
        }
        self._length = 0

    @property
    def one_coil(self) -> str:
        """Remedy for a task that needs one image."""
        return "omit the reader option kspace" if "image" in self._stacks else ""

    @property
    def coils(self) -> int:
        """Number of coils of the k-space; 1 without k-space or coil axis."""
        return self._stacks["kspace"].coils if "kspace" in self._stacks else 1

    def _drop_absent_image(self) -> None:
        """New data has k-space and no image."""
        image = self._stacks.get("image")
        if image is not None and "kspace" in self._stacks and image.key not in self.file:
            del self._stacks["image"]

    def __len__(self) -> int:
        if not self._length:
            self._length = self._checked_length()
        return self._length

    def slices_along(self, side: Side) -> dict[str, object]:
        """Return the option of the reader for another order; see ``Reorderable``."""
        return {"axes": " ".join(self._axes.with_slices_along(side).names)}

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        """Return the named fields: ``image`` and others, [H, W] or [coils, H, W], float32 or complex64.

        A dataset without a slice axis belongs to every slice.

        Args:
            index: index of the slice.

        Raises:
            UserError: the file is missing, damaged or invalid.
        """
        length = len(self)
        if not -length <= index < length:
            raise IndexError(f"slice {index} of {length}")
        return {name: stack[index % length if stack.has_slices else 0] for name, stack in self._stacks.items()}

    def _checked_length(self) -> int:
        self._drop_absent_image()
        if not self._stated:
            self._refuse_unstated_axes()
        lengths = {stack.key: len(stack) for stack in self._stacks.values() if stack.has_slices}
        if len(set(lengths.values())) > 1:
            raise UserError(
                f"{self.file.path}: expected datasets with one number of slices, got "
                f"{', '.join(f'{key!r}: {count}' for key, count in lengths.items())}; check the reader option axes"
            )
        return next(iter(lengths.values()), 1)

    def _refuse_unstated_axes(self) -> None:
        for stack in self._stacks.values():
            dataset = self.file.dataset(stack.key)
            if dataset.ndim > 2:
                raise UserError(
                    f"{stack.where}: the order of its axes {dataset.shape} is not stated; set the reader option axes, "
                    f"such as reader = {{ name = 'hdf5', {_option(self._stacks, stack)} = {stack.key!r}, "
                    f"axes = {EXAMPLE!r} }}"
                )


def _option(stacks: Mapping[str, Hdf5Stack], stack: Hdf5Stack) -> str:
    return next(field for field, other in stacks.items() if other is stack)


def _kinds(field: str) -> str:
    return {"kspace": "c", "maps": "c", "mask": "biuf"}.get(field, "biufc")
