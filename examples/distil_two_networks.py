"""Distil one network of your own into another: a script in cells, for a notebook or as it is."""

# %% [markdown]
# # Distil one network of your own into another
#
# Two networks and two loaders are all that `i2ikd.distill` needs: no plugin, no experiment file. The cells of this
# script open as a notebook in VS Code, Spyder or Jupytext; it also runs as it is.

# %%
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import i2ikd

# %% [markdown]
# ## Data
# Loaders of `(input, target)` pairs, [batch, channels, height, width] each. Here: noisy images of squares.

# %%
torch.manual_seed(0)
clean = torch.rand(40, 1, 6, 6).repeat_interleave(4, 2).repeat_interleave(4, 3)
noisy = clean + 0.2 * torch.randn_like(clean)
train = DataLoader(TensorDataset(noisy[:32], clean[:32]), batch_size=8, shuffle=True)
held_out = DataLoader(TensorDataset(noisy[32:], clean[32:]), batch_size=8)

# %% [markdown]
# ## Networks
# Any `nn.Module` that is called as `network(input)`. Features are tapped by module path, so nothing is rewritten.


# %%
class Residual(nn.Sequential):
    """Layers that give what is added to their input."""

    def forward(self, input: Tensor) -> Tensor:
        """Map [B, 1, H, W] to [B, 1, H, W]."""
        output: Tensor = input + super().forward(input)
        return output


def network(width: int, depth: int) -> nn.Module:
    """Convolutions with ReLU between them: activations are at 1, 3, 5, ..."""
    layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU()]
    for _ in range(depth - 2):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
    return Residual(*layers, nn.Conv2d(width, 1, 3, padding=1))


teacher, student, control = network(12, 5), network(6, 3), network(6, 3)
control.load_state_dict(student.state_dict())

# %% [markdown]
# ## Teacher
# A recipe without a teacher is plain training. Leave this out for a teacher that is trained already.

# %%
settings = {"lr": 3e-3, "schedule": "cosine"}
taught = i2ikd.distill(None, teacher, train, held_out, recipe="student", epochs=150, training=settings)

# %% [markdown]
# ## Student
# `kd-mri`: a stage that compares attention maps at the paired taps, then one on target and teacher together. The
# control starts from the same weights and has as many steps, without a teacher: it says what the teacher was good for.

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
# ## What came of it

# %%
psnr = {
    "teacher": taught.metrics["student"]["psnr"],
    "distilled": result.metrics["student"]["psnr"],
    "control": plain.metrics["student"]["psnr"],
}
for name, value in psnr.items():
    print(f"{name:10} {value:.2f} dB")
for row in result.history[:: len(result.history) - 1]:
    print(row["stage"], row["epoch"], {term: round(loss, 4) for term, loss in row["losses"].items()})

# %% [markdown]
# Look at the difference to the control before anything else. On squares and in seconds the control may well be ahead: a
# stage on features does not pay where plain training has only begun. `i2ikd compare` makes this comparison on volumes,
# over seeds, with intervals.
#
# `result.student` is the module that was given, trained and in eval mode: `torch.save(student.state_dict(), ...)`.
