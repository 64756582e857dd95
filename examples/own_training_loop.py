"""Custom training loop: taps and distillation loss of i2ikd, the rest is plain PyTorch."""

import torch
from torch import nn

import i2ikd


def network(width: int, depth: int) -> nn.Sequential:
    """Build convolutions with ReLU between them; activations are at 1, 3, 5, ..."""
    inner = [layer for _ in range(depth - 2) for layer in (nn.Conv2d(width, width, 3, padding=1), nn.ReLU())]
    return nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), *inner, nn.Conv2d(width, 1, 3, padding=1))


torch.manual_seed(0)
clean = torch.rand(32, 1, 6, 6).repeat_interleave(4, 2).repeat_interleave(4, 3)
noisy = clean + 0.2 * torch.randn_like(clean)
teacher, student = network(width=16, depth=5), network(width=6, depth=3)  # replace by your trained teacher
distiller = i2ikd.create("distiller", "fitnet")  # any of `i2ikd list distillers`
distiller.build([i2ikd.TapShapes(teacher=(16, 24, 24), student=(6, 24, 24))])
optimiser = torch.optim.Adam([*student.parameters(), *distiller.parameters()], lr=2e-3)
losses: list[float] = []
with i2ikd.Taps(teacher.eval(), ["7"]) as teacher_taps, i2ikd.Taps(student, ["3"]) as student_taps:
    for step in range(40):
        batch = i2ikd.Batch(noisy[step % 4 :: 4], clean[step % 4 :: 4])
        with torch.no_grad():
            teacher_features = i2ikd.Features(output=teacher(batch.input), taps=teacher_taps.take(["7"]))
            knowledge = distiller.knowledge(teacher_features, batch)
        features = i2ikd.Features(output=student(batch.input), taps=student_taps.take(["3"]))
        loss = nn.functional.l1_loss(features.image(), batch.target) + 0.1 * distiller(features, knowledge, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        teacher_taps.clear()
        student_taps.clear()
print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}")
