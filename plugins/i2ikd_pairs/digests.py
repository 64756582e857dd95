"""Digests of the files of each split by content, and refusal of one content in two splits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from i2ikd import UserError
from i2ikd.file_facts import FileFacts
from i2ikd_pairs.pair import Pair, Part


def digests_of(splits: Mapping[str, Sequence[Pair]], facts: FileFacts, root: Path) -> dict[str, str]:
    """Return a digest of names, subjects and contents of each split.

    Args:
        splits: the pairs.
        facts: keeps the digests of files.
        root: prefix of the message.

    Raises:
        UserError: a file cannot be read, or two files of two splits are equal.
    """
    parts = {part.path for pairs in splits.values() for pair in pairs for part in _parts(pair)}
    files = sorted(parts)
    by_path = dict(zip(files, facts.digests([[path] for path in files])))
    _refuse_equal(splits, by_path, root)
    found = {}
    for split, pairs in splits.items():
        lines = [
            "\t".join([pair.name, pair.subject, *(f"{by_path[p.path]} {p.key} {p.item}" for p in _parts(pair))])
            for pair in pairs
        ]
        found[split] = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return found


def _parts(pair: Pair) -> list[Part]:
    return [pair.input] if pair.target is None else [pair.input, pair.target]


def _refuse_equal(splits: Mapping[str, Sequence[Pair]], digests: Mapping[Path, str], root: Path) -> None:
    seen: dict[str, tuple[str, Path]] = {}
    for split, pairs in splits.items():
        for pair in pairs:
            if pair.input.key is not None:  # items of one file
                continue
            other, first = seen.setdefault(digests[pair.input.path], (split, pair.input.path))
            if other != split:
                raise UserError(
                    f"{root}: {first} of {other!r} and {pair.input.path} of {split!r} have one content; an image is in "
                    "one split: remove one"
                )
