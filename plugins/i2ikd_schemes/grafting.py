"""Block grafting: blocks of the student are trained in the place of the teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from i2ikd import (
    Batch,
    Features,
    Knowledge,
    Loss,
    Objective,
    ObjectiveContext,
    TapPairs,
    TeacherOutputs,
    TeacherRequest,
    UserError,
    eval_mode,
)
from i2ikd_schemes.blocks import Block, Images, find_blocks, refuse_unequal, trace
from i2ikd_schemes.substitution import fed, frozen, replaced


class BlockGrafting(Objective):
    """Student blocks in the place of the teacher's blocks, of which they have the interface.

    Formula, parallel: mean over k of mean |S_k(u_k) - v_k|, u_k and v_k the images that the teacher's block k takes and
    returns; all blocks at once, each on the teacher's image, so that no error of one reaches the next.

    Formula, stochastic: task loss of the student in which block k is S_k with probability p, and otherwise the frozen
    teacher's T_k, through which the gradient passes; p = start + (1 - start) * e / (E - 1) in epoch e of E.

    Papers: Blakeney et al., "Parallel blockwise knowledge distillation for deep neural network compression",
    arXiv:2012.03096 (parallel); Xu et al., "BERT-of-Theseus", EMNLP 2020, arXiv:2002.02925 (stochastic).

    Needs: two networks with equally many blocks. A block is a module, or a range ``first..last`` of children of one
    module that run as a chain (``layers.1..layers.3``). It runs once a pass, takes an image or features as its first
    positional argument and returns a tensor; both have one shape in both networks. Further arguments are those that
    the network itself passes.

    Deviation: L1, as between images; in stochastic one draw serves the whole batch, and where no block of the student
    would be drawn, one is, or the step would have no gradient.

    Args:
        mode: which of the two.
        blocks: (teacher path, student path) pairs, with ``*`` and ``..``, or the name of registered ones; those
            registered for the two models unless given.
        start: probability of the student's blocks in the first epoch of ``stochastic``.
    """

    def __init__(
        self,
        mode: Literal["parallel", "stochastic"] = "parallel",
        blocks: TapPairs | str | None = None,
        start: Annotated[float, Field(ge=0, le=1)] = 0.3,
    ) -> None:
        super().__init__()
        self._parallel = mode == "parallel"
        self._wanted = blocks
        self._start = self._probability = start

    def setup(self, context: ObjectiveContext) -> None:
        """Find the blocks, and compare the shapes of their images in one dry run of both networks.

        Raises:
            UserError: no blocks, blocks of unequal shape, that run more than once, whose images are overwritten, or,
                in stochastic mode, that need other arguments than those of the student.
        """
        super().setup(context)
        where = f"the stage {context.stage!r}, block-grafting"
        pairs = context.choose_pairs(self._wanted, "blocks", where)
        large = find_blocks(context.input("teacher"), [left for left, _ in pairs], where)
        small = find_blocks(context.network, [right for _, right in pairs], where)
        with context.observe_input("teacher", [tap for block in large for tap in block.taps]) as teacher:
            theirs = trace(teacher, large, context.example, where)
        with context.observe([tap for block in small for tap in block.taps]) as student:
            ours = trace(student, small, context.example, where)
        refuse_unequal(large, small, theirs, ours, where)
        self._blocks = small
        self._outputs = [block.output_tap for block in small]
        self._teachers = [frozen(block) for block in large]
        self._taps, self._of_block = _distinct(large, theirs)
        if not self._parallel:
            self._refuse_other_arguments(large, where)

    @torch.no_grad()
    def _refuse_other_arguments(self, large: Sequence[Block], where: str) -> None:
        """Run the student with each block of the teacher in turn."""
        for block, theirs, teacher in zip(self._blocks, large, self._teachers):
            try:
                with eval_mode(self.context.network), replaced({block: teacher}):
                    self.context.observe()(self.context.example)
            except (TypeError, RuntimeError) as error:
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
                raise UserError(
                    f"{where}: expected the teacher's block {theirs.path!r} to run in the place of {block.path!r} with "
                    f"the arguments that the student passes, got {reason}; set mode = 'parallel', in which each "
                    "network passes its own"
                ) from error

    def requests(self) -> Sequence[TeacherRequest]:
        """The images between the teacher's blocks; in stochastic mode none, as the blocks themselves run."""
        if not self._parallel:
            return ()
        return [
            TeacherRequest(
                "images",
                _images,
                tuple(self._taps),
                cacheable=True,
                identity="block images",
                code=type(self),
                uses_output=False,
            )
        ]

    def on_epoch_start(self, epoch: int, epochs: int) -> None:
        """Set the probability of the student's blocks."""
        self._probability = self._start + (1 - self._start) * epoch / max(epochs - 1, 1)

    def forward(self, batch: Batch, teacher: TeacherOutputs) -> Loss:
        """Return the mean distance of the blocks' images, or the target's loss of the mixed network."""
        loss = self._distance(batch, teacher["images"]) if self._parallel else self._mixed(batch)
        return Loss(loss, {"blocks" if self._parallel else "target": loss.detach()})

    def _distance(self, batch: Batch, images: Knowledge) -> Tensor:
        inputs = [images[str(source)] for source, _ in self._of_block]
        with fed(self._blocks, inputs), self.context.observe(self._outputs) as student:
            student(batch)
            outputs = student.features(self._outputs, None).taps
        losses = [
            F.l1_loss(output.float(), images[str(result)].float())
            for output, (_, result) in zip(outputs, self._of_block)
        ]
        return torch.stack(losses).mean()

    def _mixed(self, batch: Batch) -> Tensor:
        own = torch.rand(len(self._blocks)) < self._probability
        if not own.any():
            own[torch.randint(len(self._blocks), ())] = True
        places = zip(self._blocks, self._teachers, own.tolist())
        with replaced({block: teacher for block, teacher, is_own in places if not is_own}):
            image = self.context.observe()(batch)
        return self.context.target_loss(image, batch)


def _images(teacher: Features, batch: Batch) -> Knowledge:
    return {str(index): tap.detach() for index, tap in enumerate(teacher.taps)}


def _distinct(blocks: Sequence[Block], images: Images) -> tuple[list[str], list[tuple[int, int]]]:
    """Return the taps of all different images, and the places of each block's input and output among them.

    In a chain the output of a block is the input of the next: one tensor, which is cached once.
    """
    taps: list[str] = []
    known: list[Tensor] = []
    places: list[tuple[int, int]] = []
    for block, pair in zip(blocks, images, strict=True):
        found = []
        for tap, image in zip((block.input_tap, block.output_tap), pair):
            index = next((i for i, other in enumerate(known) if other is image), len(known))
            if index == len(known):
                taps.append(tap)
                known.append(image)
            found.append(index)
        places.append((found[0], found[1]))
    return taps, places
