"""BoundedCache: limits, the two policies, replacement, removal, and items that are removed with their owner."""

from __future__ import annotations

import gc
import math
from typing import Any

import pytest

from i2ikd import BoundedCache

HALF = 2**19


class Owner:
    """Object that can be weakly referenced."""


def test_refuse_stores_until_the_limit_and_removes_nothing() -> None:
    cache = BoundedCache[str](1, policy="refuse")
    stored = [cache.put(*item) for item in (("a", "A", HALF), ("b", "B", 2 * HALF), ("c", "C", HALF), ("d", "D", 1))]
    assert stored == [True, False, True, False]
    assert [cache.get(key) for key in "abcd"] == ["A", None, "C", None]
    assert (len(cache), cache.size, cache.limit) == (2, 2 * HALF, 2**20)


def test_a_replaced_item_is_counted_once() -> None:
    cache = BoundedCache[str](1, policy="refuse")
    assert all(cache.put("a", value, HALF) for value in "xyz")
    assert cache.put("b", "B", HALF)
    assert (cache.get("a"), cache.get("b"), cache.size) == ("z", "B", 2 * HALF)


def test_a_refused_replacement_leaves_the_stored_item() -> None:
    cache = BoundedCache[str](1, policy="refuse")
    cache.put("a", "A", HALF)
    assert not cache.put("a", "larger", 3 * HALF)
    assert (cache.get("a"), cache.size) == ("A", HALF)


def test_a_limit_of_zero_refuses_every_size_above_zero() -> None:
    cache = BoundedCache[str](0, policy="refuse")
    assert not cache.put("a", "A", 1)
    assert cache.put("b", "B", 0)


def test_evict_removes_the_least_recently_used_items() -> None:
    cache = BoundedCache[str](1, policy="evict")
    cache.put("a", "A", HALF)
    cache.put("b", "B", HALF)
    assert cache.get("a") == "A"
    assert cache.put("c", "C", HALF)
    assert [key in cache for key in "abc"] == [True, False, True]


def test_evict_stores_an_item_above_the_limit_until_the_next() -> None:
    cache = BoundedCache[str](1, policy="evict")
    cache.put("a", "A", HALF)
    assert cache.put("large", "L", 5 * HALF)
    assert (len(cache), cache.get("large")) == (1, "L")
    cache.put("b", "B", 1)
    assert (cache.get("large"), cache.get("b"), cache.size) == (None, "B", 1)


def test_membership_is_no_use() -> None:
    cache = BoundedCache[str](math.inf, policy="evict", max_items=2)
    cache.put("a", "A", 0)
    cache.put("b", "B", 0)
    assert "a" in cache
    cache.put("c", "C", 0)
    assert [key in cache for key in "abc"] == [False, True, True]


@pytest.mark.parametrize(("policy", "kept"), [("refuse", "ab"), ("evict", "bc")])
def test_the_number_of_items_is_limited(policy: Any, kept: str) -> None:
    cache = BoundedCache[str](math.inf, policy=policy, max_items=2)
    for key in "abc":
        cache.put(key, key, 2**40)
    assert "".join(key for key in "abc" if key in cache) == kept


def test_on_removal_receives_every_value_that_leaves_once() -> None:
    removed: list[str] = []
    cache = BoundedCache[str](math.inf, policy="evict", max_items=2, on_removal=removed.append)
    for key in "abc":
        cache.put(key, key.upper(), 1)
    assert removed == ["A"]
    cache.put("b", "new", 1)
    assert removed == ["A", "B"]
    cache.put("b", cache.get("b") or "", 5)
    assert (removed, cache.size) == (["A", "B"], 6)
    cache.remove("b")
    cache.remove("b")
    cache.clear()
    assert (removed, cache.size, len(cache)) == (["A", "B", "new", "C"], 0, 0)


def test_an_item_is_removed_with_its_owner_and_does_not_keep_it_alive() -> None:
    removed: list[str] = []
    cache = BoundedCache[str](1, policy="evict", on_removal=removed.append)
    owner = Owner()
    cache.put("a", "A", HALF, owner=owner)
    cache.put("b", "B", HALF)
    del owner
    gc.collect()
    assert (removed, cache.size, "b" in cache) == (["A"], HALF, True)


def test_a_replaced_item_outlives_the_owner_of_the_former() -> None:
    cache = BoundedCache[str](1, policy="evict")
    owner = Owner()
    cache.put("a", "A", 1, owner=owner)
    cache.put("a", "B", 1)
    del owner
    gc.collect()
    assert cache.get("a") == "B"
