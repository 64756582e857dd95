"""Student-friendly training of a teacher: blocks of a student branch off between the teacher's blocks."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from i2ikd import Batch, Loss, Objective, ObjectiveContext, Student, TapPairs, TeacherOutputs, UserError
from i2ikd.objective import Side
from i2ikd_schemes.blocks import find_blocks, refuse_unequal, trace
from i2ikd_schemes.substitution import Function, replaced

Weight = Annotated[float, Field(ge=0)]


class StudentFriendly(Objective):
    """Training of a teacher together with the blocks of a student, which continue its images as branches.

    Formula: l(y_T, x) + branch * mean_k l(y_k, x) + imitation * mean_k mean |y_k - sg(y_T)|, l the task's loss, sg stop
    gradient, and y_k the output of k blocks of the teacher followed by the student's blocks k + 1 to K, k = 0 to K - 1.
    Gradients of the branches reach the teacher's blocks too: its images become ones that the student can continue.

    Papers: Park et al., "Learning student-friendly teacher networks", NeurIPS 2021, arXiv:2102.07650; for DC-CNN
    SFT-KD-Recon, arXiv:2304.05057.

    Needs: equally many blocks in both networks (modules, or ranges ``first..last``), with images of one shape between
    them. It belongs to the teacher, as
    ``[teacher] recipe = "student-friendly"``; the student's network that it leaves behind is a start for the arms:
    ``start = { from = "teacher", network = "student" }``.

    Deviation: all branches share one set of student blocks, so that they form one student; k = 0, the whole student, is
    among the branches, or its first block would not be trained. L1 takes the place of the Kullback-Leibler divergence.

    Args:
        blocks: (teacher path, student path) pairs, with ``*`` and ``..``, or the name of registered ones; those
            registered for the two models unless given.
        branch: weight of the branches' task loss.
        imitation: weight of their distance to the teacher's image.
    """

    student: nn.Module

    def __init__(self, blocks: TapPairs | str | None = None, branch: Weight = 1.0, imitation: Weight = 1.0) -> None:
        super().__init__()
        self._wanted = blocks
        self._branch_weight = branch
        self._imitation_weight = imitation

    @property
    def needs(self) -> frozenset[str]:
        """No input network."""
        return frozenset()

    @property
    def builds(self) -> frozenset[Side]:
        """The student."""
        return frozenset({"student"})

    def setup(self, context: ObjectiveContext) -> None:
        """Build the student, find the blocks, and compare the shapes of their images in one dry run of both networks.

        Raises:
            UserError: it is an arm's objective, or no blocks, or blocks of unequal shape or that run more than once.
        """
        super().setup(context)
        where = f"the stage {context.stage!r}, student-friendly"
        if context.side != "teacher" or context.build is None:
            raise UserError(
                f"{where}: expected the training of an experiment's teacher, got its {context.side}'s; set [teacher] "
                'recipe = "student-friendly"'
            )
        self.student = context.build("student")
        pairs = context.choose_built_pairs(self.student, "student", self._wanted, "blocks", where)
        large = find_blocks(context.network, [left for left, _ in pairs], where)
        self._blocks = find_blocks(self.student, [right for _, right in pairs], where)
        with context.observe([tap for block in large for tap in block.taps]) as teacher:
            theirs = trace(teacher, large, context.example, where)
        taps = [tap for block in self._blocks for tap in block.taps]
        with Student(self.student, taps, context.autocast) as student:
            ours = trace(student, self._blocks, context.example, where)
        refuse_unequal(large, self._blocks, theirs, ours, where)
        self._outputs = [block.output_tap for block in large]

    def forward(self, batch: Batch, teacher: TeacherOutputs) -> Loss:
        """Run the teacher once, and a branch for each number of its blocks."""
        context = self.context
        with context.observe(self._outputs) as observed:
            image = observed(batch)
            images = observed.features(self._outputs, image).taps
        branches = [self._branch(batch, images[:count]) for count in range(len(images))]
        target = context.target_loss(image, batch)
        branch = torch.stack([context.target_loss(output, batch) for output in branches]).mean()
        wanted = image.detach().float()
        imitation = torch.stack([F.l1_loss(output.float(), wanted) for output in branches]).mean()
        total = target + self._branch_weight * branch + self._imitation_weight * imitation
        parts = {"target": target, "branch": branch, "imitation": imitation}
        return Loss(total, {name: loss.detach() for name, loss in parts.items()})

    def _branch(self, batch: Batch, images: list[Tensor]) -> Tensor:
        """Run the student; its first blocks return the teacher's images."""
        with replaced({block: _constant(image) for block, image in zip(self._blocks, images)}):
            return Student(self.student, (), self.context.autocast)(batch)

    def finish(self) -> dict[str, nn.Module]:
        """Return the student whose blocks were the branches."""
        return {"student": self.student}


def _constant(image: Tensor) -> Function:
    return lambda *arguments, **named: image
