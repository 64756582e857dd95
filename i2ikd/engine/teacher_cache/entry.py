"""Entry of the teacher cache on disk: the knowledge of a term as a NumPy file, with layout and checksum."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, NonNegativeInt
from torch import Tensor

from i2ikd.config import digest
from i2ikd.engine.teacher_cache.codec import CachedRecords, RecordLayout, TensorLayout
from i2ikd.engine.teacher_cache.locks import try_exclusive, try_shared

FORMAT: Literal[2] = 2
"""Version of the files of an entry; part of every address."""
_ABOUT, _ROWS, _LOCK = "about.json", "rows.npy", "lock"
_DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}
_CHUNK = 2**20

Size = NonNegativeInt


class _Tensor(BaseModel):
    """Layout of a tensor as JSON."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    dtype: str
    shape: list[Size]
    strides: list[Size]

    def layout(self) -> TensorLayout:
        """Return the layout; raise ``ValueError`` for an unknown type."""
        if self.dtype not in _DTYPES:
            raise ValueError(f"there is no type {self.dtype!r}")
        return TensorLayout(self.name, _DTYPES[self.dtype], tuple(self.shape), tuple(self.strides))


class _About(BaseModel):
    """Description of an entry, stored beside its rows."""

    model_config = ConfigDict(extra="forbid", strict=True)
    format: Literal[2] = FORMAT
    address: str
    """Of the entry: another entry in its place is refused."""
    samples: Size
    tensors: list[_Tensor]
    crc32: Size
    """CRC-32 of the NumPy file."""
    checksum: str = ""
    """Digest of the other values."""

    @classmethod
    def of(cls, address: str, layout: RecordLayout, samples: int, crc32: int) -> _About:
        """Describe an entry."""
        tensors = [
            _Tensor(name=t.name, dtype=str(t.dtype), shape=list(t.shape), strides=list(t.strides))
            for t in layout.tensors
        ]
        about = cls(address=address, samples=samples, tensors=tensors, crc32=crc32)
        return about.model_copy(update={"checksum": about.digest()})

    def digest(self) -> str:
        """Return the digest of everything but the checksum."""
        return digest(self.model_dump(mode="json", exclude={"checksum"}))

    def text(self) -> str:
        """Return the content of the file."""
        return self.model_dump_json(indent=1) + "\n"


def _header(layout: RecordLayout, samples: int) -> bytes:
    """Return the header of the NumPy file of [samples, bytes] uint8."""
    stream = io.BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": (samples, layout.bytes)}
    np.lib.format.write_array_header_1_0(stream, description)
    return stream.getvalue()


def entry_bytes(layout: RecordLayout, samples: int) -> int:
    """Return an upper bound of the bytes of an entry, all its files together.

    Args:
        layout: of the rows.
        samples: number of rows.
    """
    about = _About.of("0" * 32, layout, samples, 2**32).text().encode()
    return len(_header(layout, samples)) + samples * layout.bytes + len(about)


def verify_entry(entry: Path) -> None:
    """Compare the files of an entry with its checksums, without reading it into memory.

    Args:
        entry: its folder.

    Raises:
        OSError: the entry cannot be read.
        ValueError: the entry is damaged.
    """
    about = _About.model_validate_json((entry / _ABOUT).read_bytes())
    _refuse_damaged(entry, about)


def _refuse_damaged(entry: Path, about: _About) -> None:
    """Raise ``ValueError`` if an entry differs from its description, or is another one."""
    if about.checksum != about.digest():
        raise ValueError(f"the checksum of {_ABOUT} does not match")
    if about.address != entry.name:
        raise ValueError(f"it is the entry {about.address}")
    if _checksum(entry / _ROWS) != about.crc32:
        raise ValueError("the checksum does not match")


class EntryWriter:
    """Writes an entry row by row into a temporary folder, which is renamed to the entry's folder when complete.

    The file is written with ordinary writes instead of a memory mapping: a full disk then raises ``OSError`` instead of
    a signal that ends the process. It is not flushed to disk: a file that a power failure truncates does not
    match its checksum. A lock in the folder marks its writer as active.

    Args:
        partial: the temporary folder, which must not exist.
        final: the entry's folder.
        layout: of the rows.
        samples: number of rows to be written.

    Raises:
        OSError: the disk is full, or the folder is not writable.
    """

    def __init__(self, partial: Path, final: Path, layout: RecordLayout, samples: int) -> None:
        self._partial, self._final, self._layout, self._samples = partial, final, layout, samples
        self._written, self._crc32, self._closed = 0, 0, False
        self._streams = contextlib.ExitStack()
        partial.mkdir(parents=True)
        try:
            self._lock = self._streams.enter_context((partial / _LOCK).open("w", encoding="ascii"))
            if not try_exclusive(self._lock.fileno()):
                raise BlockingIOError(f"{partial} is locked by another process")
            self._lock.write(str(entry_bytes(layout, samples)))
            self._lock.flush()
            self._file: BinaryIO = self._streams.enter_context((partial / _ROWS).open("wb"))
            self._write(_header(layout, samples))
        except BaseException:
            self.close()
            raise

    def add(self, rows: Tensor) -> None:
        """Write rows [B, bytes], uint8.

        Args:
            rows: [B, bytes], uint8, on the CPU.

        Raises:
            OSError: the disk is full.
        """
        self._write(rows.numpy().data)
        self._written += len(rows)

    def _write(self, data: bytes | memoryview) -> None:
        """Write bytes and update the checksum."""
        self._file.write(data)
        self._crc32 = zlib.crc32(data, self._crc32)

    def commit(self) -> bool:
        """Rename the temporary folder to the entry's folder.

        Returns:
            Whether it was renamed: false if rows are missing or the entry exists.

        Raises:
            OSError: the disk is full.
        """
        if self._written != self._samples:
            return False
        about = _About.of(self._final.name, self._layout, self._samples, self._crc32)
        (self._partial / _ABOUT).write_text(about.text(), encoding="utf-8")
        self._file.close()
        (self._partial / _LOCK).unlink()
        if self._final.exists():
            return False
        self._partial.rename(self._final)
        return True

    def close(self) -> None:
        """Remove the temporary folder if it was not committed."""
        if self._closed:
            return
        self._closed = True
        shutil.rmtree(self._partial, ignore_errors=True)
        with contextlib.suppress(OSError):  # closing flushes the buffer, and the disk may be full
            self._streams.close()

    def __enter__(self) -> EntryWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def reserved_bytes(partial: Path) -> int | None:
    """Return the bytes that the active writer of a temporary folder reserves; ``None`` if it has no active writer.

    Args:
        partial: the temporary folder.
    """
    with contextlib.suppress(OSError, ValueError), (partial / _LOCK).open("r", encoding="ascii") as stream:
        if not try_shared(stream.fileno()):
            return int(stream.read())
    return None


def last_use(entry: Path) -> tuple[float, int]:
    """Return the time of an entry's last use, in seconds since 1970, and the bytes of all its files.

    Args:
        entry: its folder.

    Raises:
        OSError: the path is not an entry.
    """
    return (entry / _ABOUT).stat().st_mtime, sum(file.stat().st_size for file in entry.iterdir())


@contextlib.contextmanager
def locked_for_removal(entry: Path) -> Iterator[bool]:
    """Lock an entry against mapping by other processes.

    Args:
        entry: its folder.

    Yields:
        Whether it may be removed: false if a process has it mapped.
    """
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context((entry / _ABOUT).open("rb"))
        except OSError:  # a damaged entry
            yield True
            return
        yield try_exclusive(stream.fileno())


class _Hold:
    """Shared lock on an entry, held for the lifetime of this object."""

    def __init__(self, entry: Path) -> None:
        descriptor = os.open(entry / _ABOUT, os.O_RDONLY)
        weakref.finalize(self, os.close, descriptor)
        same = try_shared(descriptor) and os.path.samestat(os.fstat(descriptor), (entry / _ABOUT).stat())
        if not same:
            raise BlockingIOError(f"{entry} is being removed")


def read_entry(entry: Path, samples: int, memory: int) -> CachedRecords:
    """Read an entry: into memory if it has at most ``memory`` bytes, otherwise mapped from its file.

    A mapped entry is locked while it is in use, so that no process removes it to make room. A removed file would stay
    readable while it is mapped, as Linux keeps its content. The mapping is private, so that writes do not reach the
    file.

    Args:
        entry: its folder.
        samples: the expected number of rows.
        memory: the most bytes to read into memory.

    Raises:
        OSError: the entry does not exist, cannot be read, or is being removed.
        ValueError: the entry is damaged.
    """
    hold = _Hold(entry)
    about = _About.model_validate_json((entry / _ABOUT).read_bytes())
    layout = RecordLayout(tuple(tensor.layout() for tensor in about.tensors))
    if about.samples != samples:
        raise ValueError(f"expected {samples} samples, got {about.samples}")
    _refuse_damaged(entry, about)
    file = entry / _ROWS
    in_memory = samples * layout.bytes <= memory
    array = np.load(file, mmap_mode=None if in_memory else "c", allow_pickle=False)
    if array.dtype != np.uint8 or array.shape != (samples, layout.bytes):
        raise ValueError(f"expected {(samples, layout.bytes)} of uint8, got {array.shape} of {array.dtype}")
    with contextlib.suppress(OSError):  # a read-only folder
        os.utime(entry / _ABOUT)
    return CachedRecords(layout, torch.from_numpy(array), None if in_memory else hold)


def _checksum(file: Path) -> int:
    """Return the CRC-32 of a file, read in chunks."""
    crc32 = 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            crc32 = zlib.crc32(chunk, crc32)
    return crc32
