"""What one worker measures: sizes, networks, stage, precision; it travels to the worker as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Setting:
    """Everything that a worker needs to know.

    Attributes:
        size: side of the square slices, in pixels.
        batch: slices a step.
        samples: training slices, in memory.
        cascades, teacher_depth, student_depth, channels: of the two DC-CNNs; the paper's D5C5 and D5C3 by default.
        stage: ``features`` is KD-MRI's attention stage (its code's normalisation), ``output`` target + imitation.
        precision: of the engine's networks.
        cache: whether the engine keeps what the teacher said; otherwise the teacher runs in every step.
        through_teacher: whether the plain loop lets gradients run back through the teacher, as nothing in the
            reference's way of working stops them; otherwise they are recorded and dropped.
        role: whose inference is measured.
        arms: students trained on the same samples.
        lockstep: whether they are trained in one pass.
        epochs: of a measurement that trains to an end.
        folder: where a measurement of reading finds its files.
        device: ``cpu`` or ``cuda``.
        threads: of torch; 0 leaves what the process has.
    """

    size: int = 256
    batch: int = 4
    samples: int = 8
    cascades: int = 5
    teacher_depth: int = 5
    student_depth: int = 3
    channels: int = 32
    stage: Literal["features", "output"] = "output"
    precision: Precision = "fp32"
    cache: bool = True
    through_teacher: bool = True
    side: Literal["teacher", "student"] = "student"
    arms: int = 1
    lockstep: bool = False
    epochs: int = 1
    folder: str = ""
    device: str = "cpu"
    threads: int = 0

    def network(self, side: str) -> dict[str, int]:
        """Options of ``dc-cnn`` for the teacher or the student."""
        depth = self.teacher_depth if side == "teacher" else self.student_depth
        return {"cascades": self.cascades, "depth": depth, "channels": self.channels}

    def to_json(self) -> str:
        """Return what ``from_json`` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Setting:
        """Read what ``to_json`` gave."""
        return cls(**json.loads(text))
