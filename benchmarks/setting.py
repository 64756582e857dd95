"""Setting of one worker: sizes, networks, stage, precision; passed to the worker as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Setting:
    """Setting of a measurement.

    Attributes:
        size: Height and width of the slices, in pixels.
        batch: Slices per step.
        samples: Training slices, in memory.
        cascades, teacher_depth, student_depth, channels: Options of the two DC-CNNs; default: the paper's D5C5, D5C3.
        stage: ``features`` is KD-MRI's attention stage (normalisation of its code), ``output`` target + imitation.
        precision: Precision of the engine's networks.
        cache: Whether the engine caches teacher outputs; otherwise the teacher runs in every step.
        through_teacher: Whether the plain loop computes gradients through the teacher, as the reference code does;
            otherwise the teacher's outputs are detached.
        side: Network of an inference measurement.
        arms: Number of students trained on the same samples.
        lockstep: Whether they are trained in one pass.
        epochs: Epochs of a measurement of whole trainings.
        folder: Folder of the files of a measurement of reading.
        device: ``cpu`` or ``cuda``.
        threads: Threads of torch; 0 keeps the default.
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
        """Return the options of ``dc-cnn`` for ``teacher`` or ``student``."""
        depth = self.teacher_depth if side == "teacher" else self.student_depth
        return {"cascades": self.cascades, "depth": depth, "channels": self.channels}

    def to_json(self) -> str:
        """Serialise the setting for ``from_json``."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Setting:
        """Parse the output of ``to_json``."""
        return cls(**json.loads(text))
