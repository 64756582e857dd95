"""One entry of the teacher cache on disk: a term's knowledge as a NumPy file, and what proves that it is whole."""

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
from typing import Annotated, BinaryIO, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from i2ikd.engine.teacher_cache.codec import CachedRecords, RecordLayout, TensorLayout
from i2ikd.engine.teacher_cache.locks import try_exclusive, try_shared

FORMAT: Literal[1] = 1
_ABOUT, _ROWS, _LOCK = "about.json", "rows.npy", "lock"
_DTYPES = {str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}
_CHUNK = 2**20

Size = Annotated[int, Field(ge=0)]


class _Tensor(BaseModel):
    """A layout as JSON."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    dtype: str
    shape: list[Size]
    strides: list[Size]

    def layout(self) -> TensorLayout:
        if self.dtype not in _DTYPES:
            raise ValueError(f"there is no type {self.dtype!r}")
        return TensorLayout(self.name, _DTYPES[self.dtype], tuple(self.shape), tuple(self.strides))


class _About(BaseModel):
    """What an entry says about itself."""

    model_config = ConfigDict(extra="forbid", strict=True)
    format: Literal[1] = FORMAT
    samples: Size
    tensors: list[_Tensor]
    crc32: Size
    """Of the whole NumPy file."""

    @classmethod
    def of(cls, form: RecordLayout, samples: int, crc32: int) -> _About:
        tensors = [
            _Tensor(name=t.name, dtype=str(t.dtype), shape=list(t.shape), strides=list(t.strides)) for t in form.layouts
        ]
        return cls(samples=samples, tensors=tensors, crc32=crc32)

    def text(self) -> str:
        return self.model_dump_json(indent=1) + "\n"


def _header(form: RecordLayout, samples: int) -> bytes:
    stream = io.BytesIO()
    facts = {"descr": "|u1", "fortran_order": False, "shape": (samples, form.bytes)}
    np.lib.format.write_array_header_1_0(stream, facts)
    return stream.getvalue()


def entry_bytes(form: RecordLayout, samples: int) -> int:
    """Return the most bytes that an entry takes, all its files together."""
    return len(_header(form, samples)) + samples * form.bytes + len(_About.of(form, samples, 2**32).text().encode())


class EntryWriter:
    """Writes an entry row by row into a folder of its own, which then takes the entry's place.

    The file is written with ordinary writes, never through a mapping: a full disk is then an ``OSError`` here and not
    a signal that ends the process. It is not flushed to the disk either: what a power cut leaves of it does not agree
    with its checksum. A lock on the folder says that its writer lives.

    Args:
        part: the folder to write in, which is not there yet.
        final: the entry's folder.
        form: of the rows.
        samples: how many rows there will be.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """

    def __init__(self, part: Path, final: Path, form: RecordLayout, samples: int) -> None:
        self._part, self._final, self._form, self._samples = part, final, form, samples
        self._written, self._crc32, self._closed = 0, 0, False
        self._streams = contextlib.ExitStack()
        part.mkdir(parents=True)
        try:
            self._lock = self._streams.enter_context((part / _LOCK).open("w", encoding="ascii"))
            if not try_exclusive(self._lock.fileno()):
                raise BlockingIOError(f"{part} is locked by another process")
            self._lock.write(str(entry_bytes(form, samples)))
            self._lock.flush()
            self._file: BinaryIO = self._streams.enter_context((part / _ROWS).open("wb"))
            self._write(_header(form, samples))
        except BaseException:
            self.close()
            raise

    def add(self, rows: Tensor) -> None:
        """Write rows [B, bytes], uint8.

        Raises:
            OSError: the disk is full.
        """
        self._write(rows.numpy().data)
        self._written += len(rows)

    def _write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._crc32 = zlib.crc32(data, self._crc32)

    def commit(self) -> bool:
        """Let the folder take the entry's place; return whether it did: rows may be missing, or another be there.

        Raises:
            OSError: the disk is full.
        """
        if self._written != self._samples:
            return False
        about = _About.of(self._form, self._samples, self._crc32)
        (self._part / _ABOUT).write_text(about.text(), encoding="utf-8")
        self._file.close()
        (self._part / _LOCK).unlink()
        if self._final.exists():
            return False
        self._part.rename(self._final)
        return True

    def close(self) -> None:
        """Remove what did not become the entry."""
        if self._closed:
            return
        self._closed = True
        shutil.rmtree(self._part, ignore_errors=True)
        with contextlib.suppress(OSError):  # closing writes what is left in the buffer, and the disk may be full
            self._streams.close()

    def __enter__(self) -> EntryWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def reserved(part: Path) -> int | None:
    """Return the bytes that a living writer will need in a folder; ``None``: nobody writes there any more."""
    with contextlib.suppress(OSError, ValueError), (part / _LOCK).open("r", encoding="ascii") as stream:
        if not try_shared(stream.fileno()):
            return int(stream.read())
    return None


def used(entry: Path) -> tuple[float, int]:
    """Return when an entry was last used (seconds since 1970), and the bytes of all its files.

    Raises:
        OSError: it is no entry.
    """
    return (entry / _ABOUT).stat().st_mtime, sum(file.stat().st_size for file in entry.iterdir())


@contextlib.contextmanager
def unused(entry: Path) -> Iterator[bool]:
    """Whether no process has an entry mapped; as long as it is so, none can begin to."""
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context((entry / _ABOUT).open("rb"))
        except OSError:  # it is damaged
            yield True
            return
        yield try_exclusive(stream.fileno())


class _Hold:
    """A shared lock on an entry, for as long as this object lives."""

    def __init__(self, entry: Path) -> None:
        descriptor = os.open(entry / _ABOUT, os.O_RDONLY)
        weakref.finalize(self, os.close, descriptor)
        same = try_shared(descriptor) and os.path.samestat(os.fstat(descriptor), (entry / _ABOUT).stat())
        if not same:
            raise BlockingIOError(f"{entry} is being removed")


def read_entry(entry: Path, samples: int, memory: int) -> CachedRecords:
    """Read an entry: into memory where it has at most ``memory`` bytes, otherwise mapped from its file.

    A mapped entry is locked as long as it is in use, so that nobody removes it for want of room. Were it removed all
    the same, it would stay readable: Linux keeps the content of a removed file as long as it is mapped. The mapping is
    private to the process, so that nothing can be written through it.

    Raises:
        OSError: it is not there, cannot be read, or is being removed.
        ValueError: it is damaged.
    """
    hold = _Hold(entry)
    about = _About.model_validate_json((entry / _ABOUT).read_bytes())
    form = RecordLayout(tuple(tensor.layout() for tensor in about.tensors))
    if about.samples != samples:
        raise ValueError(f"it has {about.samples} samples, not {samples}")
    file = entry / _ROWS
    if _checksum(file) != about.crc32:
        raise ValueError("its checksum is another")
    in_memory = samples * form.bytes <= memory
    array = np.load(file, mmap_mode=None if in_memory else "c", allow_pickle=False)
    if array.dtype != np.uint8 or array.shape != (samples, form.bytes):
        raise ValueError(f"it holds {array.shape} of {array.dtype}, not {(samples, form.bytes)} bytes")
    with contextlib.suppress(OSError):  # a folder that may only be read
        os.utime(entry / _ABOUT)
    return CachedRecords(form, torch.from_numpy(array), None if in_memory else hold)


def _checksum(file: Path) -> int:
    crc32 = 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            crc32 = zlib.crc32(chunk, crc32)
    return crc32
