"""Any bytes give an image or one line with the file, whatever the reader, within two seconds and 500 MB."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from i2ikd_mri.readers import opening

from i2ikd import Reader, UserError
from tests.faults.damage import TRIED, any_bytes, share
from tests.faults.reader_files import READER_FILES

SECONDS, MEGABYTES = 2.0, 500
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@pytest.fixture(autouse=True)
def short_header_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(opening, "LONGEST_HEADER", 20.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries warn of damage
        yield


@pytest.mark.parametrize("name", READER_FILES)
def test_any_bytes_give_an_image_or_one_line(name: str, tmp_path: Path) -> None:
    source = READER_FILES[name]
    intact = tmp_path / f"intact{source.suffix}"
    source.write(intact)
    content = intact.read_bytes()
    path = tmp_path / f"damaged{source.suffix}"
    assert _outcome(source.reader, intact) == "image"

    @settings(max_examples=share(2 * len(READER_FILES), 12), deadline=None, suppress_health_check=list(HealthCheck))
    @given(any_bytes(content))
    def check(damaged: bytes) -> None:
        TRIED["files"] += 1
        path.unlink(missing_ok=True)
        path.write_bytes(damaged)
        _outcome(source.reader, path)

    check()


def _outcome(reader: Reader, path: Path) -> str:
    """Read the first and last slice and the properties of a volume; return ``image``, or the message."""
    start, before = time.process_time(), _memory(reset=True)
    try:
        volume = reader(path)
        length = len(volume)
        for index in {0, length - 1}:
            for values in volume[index].values():
                assert values.dtype in (np.float32, np.complex64)
                assert np.isfinite(values).all()
        for name in ("coils", "affine", "axis", "levels", "reconstruction_size"):
            getattr(volume, name, None)
        outcome = "image"
    except UserError as error:
        outcome = str(error)
        assert path.name in outcome
        assert "was not read within" not in outcome
        assert "\n" not in outcome
    assert time.process_time() - start < SECONDS
    assert _memory() - before < MEGABYTES
    return outcome


def _memory(reset: bool = False) -> float:
    """Return the peak of the resident memory in megabytes since the last reset; 0 where Linux does not state it."""
    try:
        if reset:
            _RESET.write_text("5")
        status = _STATUS.read_text()
    except OSError:
        return 0.0
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def test_the_peak_of_memory_is_measured() -> None:
    before = _memory(reset=True)
    allocated = np.ones(400_000_000 // 8)  # more than what the process may have freed and not given back
    assert allocated.any()
    assert _memory() == 0 or _memory() - before > 50
