"""Distillers of relations between samples: all of them are functions of the Gram matrix of the samples."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from i2ikd_distillers.normalise import SQUARED_FLOOR, cosines, unit_rows
from i2ikd_distillers.paired import PairedDistiller
from i2ikd_distillers.products import gram
from i2ikd_distillers.sampling import Samples, grid, take

Count = Annotated[int, Field(ge=4, le=4096)]


class Relational(PairedDistiller):
    """Compares how samples relate to each other.

    The samples are, with ``samples = "batch"``, the images of a batch; with ``"pixel"`` the pixels at the centres of
    an even grid of at most ``count`` cells in each image; with ``"patch"`` the means of those cells. The grid depends
    on shape and count alone, so in the last two the method works at batch 1, does not mix images, and its knowledge
    [B, C, rows, columns] is cacheable. Channels and sizes of the two networks need not agree.
    """

    smallest_batch = 2
    """Least number of images in batch mode: below it the loss would be constant."""

    def __init__(self, samples: Samples, count: int) -> None:
        super().__init__()
        self.samples = samples
        self.count = count
        self.centred = False
        self.relates_samples = samples == "batch"
        self.cacheable = samples != "batch"
        self.least_batch = self.smallest_batch if samples == "batch" else 1

    def describe(self, index: int, teacher: Tensor) -> Tensor:
        """Return the sampled positions, or the Gram matrix [B, B] of the batch."""
        if self.samples == "batch":
            return self._gram(teacher.flatten(1))
        height, width = teacher.shape[-2:]
        return take(teacher, self.samples, grid(height, width, self.count))

    def compare(self, index: int, student: Tensor, knowledge: Tensor) -> Tensor:
        """Return the loss of the two Gram matrices [G, M, M]: G images of M positions, or one batch of M images."""
        if self.samples == "batch":
            return self.relate(self._gram(student.flatten(1)).unsqueeze(0), knowledge.unsqueeze(0))
        rows, columns = knowledge.shape[-2:]
        taken = take(student, self.samples, (rows, columns))
        return self.relate(self._gram(taken.flatten(2).mT), self._gram(knowledge.flatten(2).mT))

    def _gram(self, samples: Tensor) -> Tensor:
        matrix = gram(samples)
        if not self.centred:
            return matrix
        rows = matrix - matrix.mean(dim=-1, keepdim=True)
        return rows - rows.mean(dim=-2, keepdim=True)

    @abstractmethod
    def relate(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the scalar loss of two stacks of Gram matrices [G, M, M], each divided by its feature length.

        The matrices are float64: losses are small differences of their entries.
        """


class SimilarityPreserving(Relational):
    """Samples that resemble each other in the teacher shall do so in the student.

    Paper: Tung and Mori, "Similarity-Preserving Knowledge Distillation", arXiv:1907.09682.

    Formula: G = A A^T with each row divided by its length, A = [samples, features]; ||G_S - G_T||_F^2 / M^2.

    Needs: pairs of taps; no parameters. In batch mode it relates samples and needs 2 of them.

    Differs from the paper: ``samples`` (relations within a batch of 4 carry little information).

    Args:
        samples: ``pixel`` or ``patch`` (of one image), or ``batch`` as in the paper.
        count: at most how many positions of an image.
    """

    def __init__(self, samples: Samples = "pixel", count: Count = 512) -> None:
        super().__init__(samples, count)

    def relate(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean squared difference of the row-normalised matrices."""
        return F.mse_loss(unit_rows(student), unit_rows(teacher))


class CorrelationCongruence(Relational):
    """Correlations between samples under a Gaussian kernel shall agree.

    Paper: Peng et al., "Correlation Congruence for Knowledge Distillation", arXiv:1904.01802.

    Formula: k(x, y) = exp(-2 gamma) * sum over p = 0..order of (2 gamma)^p / p! * (x.y)^p for unit vectors x, y: the
    Taylor series of exp(-gamma ||x - y||^2); ||K_S - K_T||_F^2 / M^2.

    Needs: pairs of taps; no parameters. In batch mode it relates samples and needs 2 of them.

    Differs from the paper: no learnt embedding before the kernel; ``samples``. The common re-implementation
    (RepDistiller's, attributed to the authors in its source) multiplies differences of neighbours in the batch, is
    another loss, and is NaN at batch 1: it is not offered.

    Args:
        samples: ``pixel`` or ``patch`` (of one image), or ``batch`` as in the paper.
        count: at most how many positions of an image.
        gamma: width of the kernel.
        order: order of the Taylor series.
    """

    def __init__(
        self,
        samples: Samples = "pixel",
        count: Count = 512,
        gamma: Annotated[float, Field(gt=0)] = 0.4,
        order: Annotated[int, Field(ge=1, le=6)] = 2,
    ) -> None:
        super().__init__(samples, count)
        self.gamma = gamma
        self.order = order

    def relate(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean squared difference of the kernel matrices."""
        return F.mse_loss(self._kernel(cosines(student)), self._kernel(cosines(teacher)))

    def _kernel(self, cosine: Tensor) -> Tensor:
        series = torch.ones_like(cosine)
        for power in range(self.order, 0, -1):
            series = 1 + series * cosine * (2 * self.gamma / power)
        return series * torch.exp(torch.tensor(-2 * self.gamma, device=cosine.device))


class ProbabilisticTransfer(Relational):
    """The probability with which a sample picks each other one as its neighbour (PKT).

    Paper: Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", arXiv:1803.10837.

    Formula: s = (cosine + 1) / 2, each row divided by its sum gives p; mean over rows of KL(p_T || p_S), as the sum of
    p_T log(p_T / p_S) - p_T + p_S, of which no entry is negative.

    Needs: pairs of taps; no parameters. In batch mode it relates samples and needs 2 of them (with 2, mode ``paper``
    is constant: it needs 3).

    Differs from the authors' code: in mode ``paper`` a sample is no neighbour of itself and a row is summed; in mode
    ``code`` the diagonal takes part and the mean is over all M^2 entries. s has a floor of 1e-6; a length has
    one of 1e-3 of the root-mean-square length.

    Args:
        samples: ``pixel`` or ``patch`` (of one image), or ``batch`` as in the paper.
        count: at most how many positions of an image.
        mode: ``paper`` or ``code``.
    """

    def __init__(
        self, samples: Samples = "pixel", count: Count = 512, mode: Literal["paper", "code"] = "paper"
    ) -> None:
        super().__init__(samples, count)
        self.mode = mode
        if samples == "batch" and mode == "paper":
            self.least_batch = 3

    def relate(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the divergence."""
        own, other = self._probabilities(student), self._probabilities(teacher)
        divergence = torch.special.xlogy(other, other / own) - other + own
        return divergence.mean() if self.mode == "code" else divergence.sum(dim=-1).mean()

    def _probabilities(self, matrix: Tensor) -> Tensor:
        similarity = ((cosines(matrix) + 1) / 2).clamp_min(1e-6)
        if self.mode == "paper":
            others = ~torch.eye(matrix.shape[-1], dtype=torch.bool, device=matrix.device)
            similarity = similarity[:, others].view(*matrix.shape[:-1], -1)
        return similarity / similarity.sum(dim=-1, keepdim=True)


class RelationalDistances(Relational):
    """Distances between samples and angles at samples shall agree (RKD).

    Paper: Park et al., "Relational Knowledge Distillation", arXiv:1904.05068.

    Formula: 25 * mean huber(d_S - d_T) + 50 * mean huber(c_S - c_T); d = distance of two samples divided by the mean
    distance, c = cosine of the angle that two samples form at a third; huber = smooth L1 at 1; means over all M^2
    pairs and M^3 triples. The two weights are those of RepDistiller, for classification; the authors' example of metric
    learning has 1 and 2.

    Needs: pairs of taps; no parameters. In batch mode it relates samples and needs 3 of them: with 2 or fewer every
    scaled distance and angle is the same and the loss is 0. Memory of the angles grows with the third power of
    ``angles``.

    Differs from the authors' code: angles come from the Gram matrix, not from [M, M, D] differences, and from at most
    ``angles`` of the samples. Samples closer than 1e-3 of the root-mean-square distance form no angle, in either
    network if they are the teacher's; the authors have a floor of 1e-12, and compare the angles of noise with 90
    degrees. A distance below 1e-6 of the root-mean-square one is 0. The mean distance is that of all pairs of two
    samples, coincident ones too, as in the paper and in their code.

    Args:
        samples: ``pixel`` or ``patch`` (of one image), or ``batch`` as in the paper.
        count: at most how many positions of an image.
        distance: weight of the distances.
        angle: weight of the angles.
        angles: at most how many samples take part in the angles.
    """

    smallest_batch = 3

    def __init__(
        self,
        samples: Samples = "pixel",
        count: Count = 512,
        distance: Annotated[float, Field(ge=0)] = 25.0,
        angle: Annotated[float, Field(ge=0)] = 50.0,
        angles: Annotated[int, Field(ge=3, le=256)] = 64,
    ) -> None:
        super().__init__(samples, count)
        self.distance = distance
        self.angle = angle
        self.angles = angles

    def relate(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the weighted sum of the two parts."""
        chosen = _spread(student.shape[-1], self.angles, student.device)
        distances = F.smooth_l1_loss(_scaled_distances(student), _scaled_distances(teacher))
        own, other = (matrix[:, chosen][:, :, chosen] for matrix in (student, teacher))
        _, apart = _distances(other, COINCIDENT)
        angles = F.smooth_l1_loss(_angles(own, apart), _angles(other, apart))
        return self.distance * distances + self.angle * angles


def _spread(size: int, count: int, device: torch.device) -> Tensor:
    """Return at most ``count`` evenly spread indices below ``size``."""
    return torch.arange(min(size, count), device=device) * size // min(size, count)


ROUNDING = 1e-12
"""Squared distances below this share of their mean are 0: what float64 leaves of two equal samples."""

COINCIDENT = 1e-6
"""Squared distances below this share of their mean have no direction, and samples at them form no angle."""


def _distances(matrix: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return distances [G, M, M] and which of them are not 0; there is no gradient through one that is.

    Args:
        matrix: Gram matrices [G, M, M].
        share: the least squared distance, as a share of the mean.
    """
    energy = matrix.diagonal(dim1=-2, dim2=-1)
    squared = energy.unsqueeze(-1) + energy.unsqueeze(-2) - 2 * matrix
    floor = share * squared.detach().mean(dim=(1, 2), keepdim=True).clamp_min(SQUARED_FLOOR)
    apart = squared > floor
    return torch.where(apart, squared, 1.0).sqrt() * apart, apart


def _scaled_distances(matrix: Tensor) -> Tensor:
    distance, _ = _distances(matrix, ROUNDING)
    count = matrix.shape[-1]
    mean = distance.sum(dim=(1, 2), keepdim=True) / (count * (count - 1))
    return distance / torch.where(mean > 0, mean, 1.0)


def _angles(matrix: Tensor, counted: Tensor) -> Tensor:
    """Return the cosine of the angle at j between i and k, [G, j, i, k], from the Gram matrix; 0 where two coincide.

    Args:
        matrix: Gram matrices [G, M, M].
        counted: pairs [G, M, M] that take part; the cosine is 0 at the others.
    """
    distance, apart = _distances(matrix, COINCIDENT)
    inverse = (apart & counted) / torch.where(apart, distance, 1.0)
    towards = matrix.unsqueeze(1) - matrix.unsqueeze(3) - matrix.unsqueeze(2)
    product = towards + matrix.diagonal(dim1=-2, dim2=-1)[:, :, None, None]
    return product * inverse.unsqueeze(3) * inverse.unsqueeze(2)


class KernelAlignment(Relational):
    """One minus the alignment of the two Gram matrices of samples: blind to rotations and scale of the channels (CKA).

    Paper: Jin et al., "Teachers Do More Than Teach: Compressing Image-to-Image Models" (CAT), arXiv:2103.03467.

    Formula: 1 - ||X Y^T||_F^2 / (||X X^T||_F ||Y Y^T||_F), X, Y = [channels, positions] of the two networks;
    computed as 1/2 || K_X / ||K_X||_F - K_Y / ||K_Y||_F ||_F^2, K = X^T X, which is the same number and no difference
    of two near 1. Mean over the images.

    Needs: pairs of taps; no parameters and no adapter, for any channels. In batch mode it relates samples and
    needs 2 of them.

    Differs from the paper: it takes the positions of all images of a batch together; here they are those of an even
    grid in each image, all of them with ``count`` at or above the number of pixels (memory grows with count^2). The
    authors' code has the images of a batch as samples, which is ``samples = "batch"`` here, and leaves out the 1.
    ``centred`` makes it Kornblith's centred kernel alignment (arXiv:1905.00414); theirs is not centred.

    Args:
        samples: ``pixel`` or ``patch`` (of one image), or ``batch``.
        count: at most how many positions of an image.
        centred: subtract the mean over the samples first.
    """

    def __init__(self, samples: Samples = "pixel", count: Count = 512, centred: bool = False) -> None:
        super().__init__(samples, count)
        self.centred = centred

    def relate(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the misalignment, mean over the images."""
        own, other = student.flatten(1), teacher.flatten(1)
        return (_unit(own) - _unit(other)).square().sum(dim=1).mean() / 2


def _unit(rows: Tensor) -> Tensor:
    return rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(SQUARED_FLOOR)
