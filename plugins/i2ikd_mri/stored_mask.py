"""Masks that are stored in the files of the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from i2ikd import UserError
from i2ikd_mri.conventions import is_centred_at_other_position
from i2ikd_mri.masks import Mask, PlaneShape


class StoredMask(Mask):
    """Mask ``mask`` of each slice, as its reader returns it: files that store their sampling pattern."""

    def __call__(self, shape: PlaneShape, draw: Sequence[int] = (), centered: bool = False) -> Tensor:
        """Raise an error: the mask is a field of the slices.

        Raises:
            UserError: always.
        """
        raise UserError("mask 'stored': the mask is stored in the files, and none is generated; set another mask")

    def identity(self) -> dict[str, Any]:
        """Return the kind alone: the content is part of the files."""
        return {"kind": "StoredMask"}


def checked_mask(mask: Tensor | None, centered: bool, where: str) -> Tensor:
    """Check the stored mask of a slice.

    Args:
        mask: [H, 1], [1, W] or [H, W], zeros and ones; ``None``: the file has none.
        centered: position of zero frequency in the task: index 0 (``False``) or n // 2 (``True``).
        where: file and slice, the prefix of messages.

    Returns:
        The mask.

    Raises:
        UserError: there is no mask, or its sampled centre is at the other position of zero frequency.
    """
    if mask is None:
        raise UserError(
            f"{where}: expected a stored mask for mask = 'stored', got none; name it in the reader (hdf5: option mask) "
            "or set another mask in [task]"
        )
    if is_centred_at_other_position(mask.numpy(), centered):
        stated, position = ("n // 2", "index 0") if centered else ("index 0", "n // 2")
        raise UserError(
            f"{where}: expected a stored mask with zero frequency at {stated}, got a fully sampled centre at "
            f"{position}; set centered = {str(not centered).lower()} in [task]"
        )
    return mask
