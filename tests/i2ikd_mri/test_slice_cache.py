"""The memory budget keeps what fits and never evicts."""

from __future__ import annotations

from i2ikd_mri.slice_cache import SliceCache


def test_it_keeps_until_it_is_full_and_evicts_nothing() -> None:
    memory = SliceCache(1)
    memory.keep("a", "A", 2**19)
    memory.keep("too large", "B", 2**20)
    memory.keep("c", "C", 2**19)
    memory.keep("d", "D", 1)
    assert [memory.get(key) for key in ("a", "too large", "c", "d")] == ["A", None, "C", None]


def test_a_key_is_charged_once() -> None:
    memory = SliceCache(1)
    for _ in range(3):
        memory.keep("a", "A", 2**19)
    memory.keep("b", "B", 2**19)
    assert memory.get("b") == "B"
