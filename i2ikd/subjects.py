"""Division of subjects into splits by their names alone, and refusal of names that seem to be parts of one subject."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from i2ikd.errors import UserError
from i2ikd.split_names import SPLITS

_PARTS = re.compile(
    r"(?P<stem>.*?[a-zA-Z0-9])(?P<separator>[_\-. ]+)(?P<word>[a-zA-Z]*)(?P<joint>[_\-]?)(?P<number>\d+)$"
)
_PARTS_OF_A_SUBJECT = {
    "slice", "slc", "sl", "frame", "fr", "phase", "echo", "ses", "session", "visit", "run", "img", "image", "z", "t",
    "time", "scan",
}  # fmt: skip
_SUBJECT_WORDS = {"sub", "subj", "subject", "patient", "pat", "case", "id", "p", "s"}


def by_hash(subjects: Iterable[str]) -> list[str]:
    """Return the distinct subjects in a pseudo-random order that depends only on their names (SHA-256).

    Args:
        subjects: names, which may repeat.
    """
    return sorted(
        set(subjects), key=lambda name: (hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest(), name)
    )


def divide_subjects(
    subjects: Iterable[str], fractions: tuple[float, float, float], root: Path
) -> dict[str, frozenset[str]]:
    """Divide subjects into splits.

    Args:
        subjects: names, which may repeat.
        fractions: shares of the subjects for train, val and test, which sum to 1. A split with a share above 0 receives
            at least one subject.
        root: the folder, the prefix of messages.

    Returns:
        The subjects of each split.

    Raises:
        UserError: the fractions do not sum to 1, or there are fewer subjects than splits.

    >>> parts = divide_subjects(["a", "b", "c", "d"], (0.5, 0.25, 0.25), Path("data"))
    >>> [len(parts[split]) for split in ("train", "val", "test")]
    [2, 1, 1]
    """
    if abs(sum(fractions) - 1) > 1e-6 or min(fractions) < 0 or not fractions[0]:
        raise UserError(f"fractions: expected shares of train, val and test that sum to 1, got {list(fractions)}")
    order = by_hash(subjects)
    parts_needed = sum(share > 0 for share in fractions)
    if len(order) < parts_needed:
        raise UserError(
            f"{root}: {len(order)} subject(s) without split folders are too few to divide into {parts_needed} splits; "
            f"add folders {', '.join(SPLITS)}, or add subjects"
        )
    test = share_of(fractions[2], len(order), len(order) - parts_needed + 1)
    val = share_of(fractions[1], len(order), len(order) - test - 1)
    return {
        "train": frozenset(order[test + val :]),
        "val": frozenset(order[test : test + val]),
        "test": frozenset(order[:test]),
    }


def share_of(share: float, total: int, most: int) -> int:
    """Return the number of subjects of a share, 1..most, or 0 for a share of 0.

    Args:
        share: 0..1.
        total: number of all subjects.
        most: greatest number.
    """
    return min(most, max(1, round(share * total))) if share else 0


def refuse_parts_of_subjects(subjects: Iterable[str], root: Path) -> None:
    """Check that subjects, taken from names for lack of the option ``subject``, are not parts of one subject.

    Names such as ``patient01_slice000`` and ``patient01_slice001`` have a common stem with a number of its own, or
    with a word such as ``slice`` after it.

    Args:
        subjects: names, which may repeat.
        root: the folder, the prefix of the message.

    Raises:
        UserError: two subjects have a common stem.
    """
    first: dict[tuple[str, str], str] = {}
    for subject in dict.fromkeys(subjects):
        parts = _PARTS.fullmatch(subject)
        if parts is None or parts["word"].lower() in _SUBJECT_WORDS:
            continue
        if not re.search(r"\d", parts["stem"]) and parts["word"].lower() not in _PARTS_OF_A_SUBJECT:
            continue
        other = first.setdefault((parts["stem"], parts["word"].lower()), subject)
        if other != subject:
            expression = rf"([^/]+){re.escape(parts['separator'])}{parts['word']}{parts['joint']}\d+"
            expression = expression.replace("\\-", "-").replace("\\ ", " ")
            raise UserError(
                f"{root}: expected one name for each subject, got {other!r} and {subject!r}, which seem to be parts of "
                f"{parts['stem']!r}; parts of a subject belong to one split: set subject = '{expression}', or "
                "subject = '[^/]+' if each is a subject"
            )
