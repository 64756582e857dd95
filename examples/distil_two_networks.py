"""Distil one of your networks into another: a script in cells, for a notebook or the command line."""

# %% [markdown]
# # Distil one of your networks into another
#
# `i2ikd.distill` requires two networks and two loaders: no plugin, no experiment file. The cells of this script open
# as a notebook in VS Code, Spyder or Jupytext; it also runs as a script.

# %%
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import i2ikd

# %% [markdown]
# ## Data
# Loaders of `(input, target)` pairs, [batch, channels, height, width] each. This example uses noisy images of squares.

# %%
torch.manual_seed(0)
clean = torch.rand(40, 1, 6, 6).repeat_interleave(4, 2).repeat_interleave(4, 3)
noisy = clean + 0.2 * torch.randn_like(clean)
train = DataLoader(TensorDataset(noisy[:32], clean[:32]), batch_size=8, shuffle=True)
held_out = DataLoader(TensorDataset(noisy[32:], clean[32:]), batch_size=8)

# %% [markdown]
# ## Networks
# Any `nn.Module` called as `network(input)`. Features are tapped by module path, without changes to the network.


# %%
class Residual(nn.Sequential):
    """Sequence of layers whose output is added to their input."""

    def forward(self, input: Tensor) -> Tensor:
        """Map [B, 1, H, W] to [B, 1, H, W]."""
        output: Tensor = input + super().forward(input)
        return output


def network(width: int, depth: int) -> nn.Module:
    """Build convolutions with ReLU between them; activations are at 1, 3, 5, ..."""
    layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU()]
    for _ in range(depth - 2):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
    return Residual(*layers, nn.Conv2d(width, 1, 3, padding=1))


teacher, student, control = network(12, 5), network(6, 3), network(6, 3)
control.load_state_dict(student.state_dict())

# %% [markdown]
# ## Teacher
# A recipe without a teacher is plain training. Skip this step for a trained teacher.

# %%
settings = {"lr": 3e-3, "schedule": "cosine"}
trained_teacher = i2ikd.distill(None, teacher, train, held_out, recipe="student", epochs=150, training=settings)

# %% [markdown]
# ## Student
# `kd-mri`: a stage on attention maps at the paired taps, then a stage on target and teacher output. The control starts
# from the same weights and is trained for as many steps without a teacher; the difference is the effect of the teacher.

# %%
result = i2ikd.distill(
    teacher,
    student,
    train,
    held_out,
    recipe="kd-mri",
    options={"distiller": "attention", "alpha": 0.5},
    pairs=[("5", "3")],
    epochs=15,
    training=settings,
)
plain = i2ikd.distill(
    None, control, train, held_out, recipe="student", options={"stages": 2}, epochs=15, training=settings
)

# %% [markdown]
# ## Results

# %%
psnr = {
    "teacher": trained_teacher.metrics["student"]["psnr"],
    "distilled": result.metrics["student"]["psnr"],
    "control": plain.metrics["student"]["psnr"],
}
for name, value in psnr.items():
    print(f"{name:10} {value:.2f} dB")
for row in result.history[:: len(result.history) - 1]:
    print(row["stage"], row["epoch"], {term: round(loss, 4) for term, loss in row["losses"].items()})

# %% [markdown]
# The difference to the control is the result. In this short training on squares the control may have the higher PSNR: a
# stage on features does not pay while plain training is far from convergence. `i2ikd compare` makes this comparison on
# volumes, over seeds, with intervals.
#
# `result.student` is the module passed to `distill`, trained and in eval mode: `torch.save(student.state_dict(), ...)`.
