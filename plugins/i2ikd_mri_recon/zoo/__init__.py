"""Bundles of trained networks; the README.md of each names the commands that made it, its data and its licence."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def brain_teacher() -> Path:
    """Return the folder of the teacher for brains at 4x."""
    return _FOLDER / "brain-4x-teacher"


def brain_student() -> Path:
    """Return the folder of the distilled student for brains at 4x."""
    return _FOLDER / "brain-4x-student"


def phantom_teacher() -> Path:
    """Return the folder of the teacher for simulated heads at 4x."""
    return _FOLDER / "phantom-4x-teacher"


def phantom_student() -> Path:
    """Return the folder of the distilled student for simulated heads at 4x."""
    return _FOLDER / "phantom-4x-student"
