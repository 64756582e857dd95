"""Plain training loop: distillation as the reference code does it, as the baseline of the measurements.

The teacher runs in every step and records gradients. Data consistency is a pair of 2-D transforms in complex128 with
the mask as a float64 plane. Memory has torch's default format and allocator. ``.item()`` is called after every step.
Stage ``features`` compares attention maps normalised over the batch; stage ``output`` is target + imitation.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.samples import MemoryTask
from benchmarks.setting import Setting
from benchmarks.turn import Turn
from i2ikd import Batch, create
from i2ikd.engine.batches import SampleBatches
from i2ikd.seeds import seed_torch

ALPHA = 0.5


class PlainCascades(nn.Module):
    """DC-CNN without residual, in real mode; returns its features instead of being tapped."""

    def __init__(self, cascades: int, depth: int, channels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for _ in range(cascades):
            inputs, outputs = [1, *[channels] * (depth - 1)], [*[channels] * (depth - 1), 1]
            self.blocks.append(nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in zip(inputs, outputs)))
        self.middle = depth // 2

    def forward(self, image: Tensor, kspace: Tensor, mask: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the image [B, 1, H, W] and the middle features of every cascade, [B, C, H, W] each."""
        features = []
        for block in self.blocks:
            assert isinstance(block, nn.ModuleList)
            for index, convolution in enumerate(block):
                image = convolution(image)
                if index < len(block) - 1:
                    image = F.relu(image)
                if index == self.middle:
                    features.append(image)
            spectrum = torch.fft.fft2(image.double(), norm="ortho")
            mixed = mask * kspace + (1 - mask) * spectrum
            image = torch.fft.ifft2(mixed, norm="ortho").real.float()
        return image, features


def plain_network(setting: Setting, side: str, seed: int) -> PlainCascades:
    """Return teacher or student with the initial weights of the engine's network."""
    seed_torch(seed, "network")
    source: nn.Module = create("model", "dc-cnn", **setting.network(side))
    network = PlainCascades(**setting.network(side))
    with torch.no_grad():
        for weight, initial in zip(network.parameters(), source.parameters(), strict=True):
            weight.copy_(initial)
    return network


def attention_map(feature: Tensor) -> Tensor:
    """Return sum_c F^2 as [B, H, W], each pixel divided by its norm over the batch."""
    return F.normalize(feature.pow(2).sum(1), dim=0, eps=1e-6)


class PlainStage:
    """Training of one stage of KD-MRI."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._device = torch.device(setting.device)
        self._teacher = plain_network(setting, "teacher", 1).to(self._device)
        self.student = plain_network(setting, "student", 0).to(self._device)
        self._optimiser = torch.optim.Adam(self.student.parameters(), lr=1e-3)
        self._batches = SampleBatches(MemoryTask(setting).dataset("train"), setting.batch, seed=0)

    def losses(self) -> Iterator[float]:
        """Train without end and yield the loss of every step."""
        epoch = 0
        while True:
            for batch in self._batches.epoch(epoch):
                yield self._step(batch)
            epoch += 1

    def _step(self, batch: Batch) -> float:
        source, target = batch.input.to(self._device), batch.target.to(self._device)
        kspace = batch.conditions["kspace"].to(self._device, torch.complex128)
        mask = batch.conditions["mask"].to(self._device, torch.float64).expand(kspace.shape).contiguous()
        self._optimiser.zero_grad()
        teacher_output, teacher_features = self._teacher(source, kspace, mask)
        if not self._setting.through_teacher:
            teacher_output = teacher_output.detach()
            teacher_features = [feature.detach() for feature in teacher_features]
        output, features = self.student(source, kspace, mask)
        if self._setting.stage == "features":
            pairs = zip(features, teacher_features)
            loss = torch.stack([F.l1_loss(attention_map(s), attention_map(t)) for s, t in pairs]).mean()
        else:
            loss = ALPHA * F.l1_loss(output, target) + (1 - ALPHA) * F.l1_loss(output, teacher_output)
        loss.backward()
        self._optimiser.step()
        return loss.item()


def run(setting: Setting, turn: Turn) -> None:
    """Measure training steps; one unit is a step."""
    losses = PlainStage(setting).losses()
    turn.begin()
    for _ in losses:
        turn.done()
