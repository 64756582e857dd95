"""Compressed files, read to their end: readers stop at the last voxel, before the checksum of the gzip format."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

from i2ikd import UserError
from i2ikd_mri.readers.opening import FREE_BYTES

_CHUNK = 2**16
"""Bytes that are decompressed at once, to at most 64 MiB."""
_FORMAT = zlib.MAX_WBITS | 16
_STARTS = {348: ("f", 108), 540: ("q", 168)}
"""Type and place of ``vox_offset`` by ``sizeof_hdr``, the first value of NIfTI-1 and NIfTI-2."""


def decompressed(path: Path, size: int) -> bytes:
    """Decompress a gzip file to its end, so that its CRC-32 and length are compared.

    Args:
        path: of the file.
        size: of the content that its header declares, in bytes.

    Returns:
        The content, which may be shorter, or up to 64 MiB longer.

    Raises:
        UserError: the file is truncated or damaged, or its content is longer.
        OSError: the file cannot be read.
    """
    content, decoder = io.BytesIO(), zlib.decompressobj(_FORMAT)
    with path.open("rb") as file:
        try:
            while data := file.read(_CHUNK):
                while data:
                    if decoder.eof:  # another member follows, or zeros as padding
                        data = data.lstrip(b"\0")
                        if not data:
                            break
                        decoder = zlib.decompressobj(_FORMAT)
                    content.write(decoder.decompress(data))
                    data = decoder.unused_data
                    if content.tell() > size + FREE_BYTES:
                        raise UserError(
                            f"{path}: it holds more than the {size:,} bytes that its header declares; the file is "
                            "damaged: copy it again"
                        )
        except zlib.error as error:
            raise UserError(f"{path}: the file is damaged or truncated ({error}); copy it again") from error
    if not decoder.eof:
        raise UserError(f"{path}: the file is damaged or truncated (it ends within its data); copy it again")
    return content.getvalue()


def require_plausible_start(path: Path) -> None:
    """Check where the values of a compressed NIfTI file start, as everything before is read with its header.

    Args:
        path: of the file; one of another format is accepted.

    Raises:
        UserError: the values start after more than 64 MiB.
    """
    with path.open("rb") as file:
        head = zlib.decompressobj(_FORMAT).decompress(file.read(4096), 544)
    for order in "<>" if len(head) >= 352 else "":
        kind, place = _STARTS.get(struct.unpack_from(f"{order}i", head)[0], ("", 0))
        if kind and not struct.unpack_from(order + kind, head, place)[0] <= FREE_BYTES:
            raise UserError(f"{path}: its values start after more than 64 MiB; the file is damaged: copy it again")
