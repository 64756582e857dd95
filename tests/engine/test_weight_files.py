"""Checkpoints as other programs write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from i2ikd.engine.build import load_weights
from i2ikd.errors import UserError

State = dict[str, Tensor]


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


LIGHTNING: Callable[[State], dict[str, Any]] = lambda state: {  # noqa: E731
    "epoch": 3,
    "pytorch-lightning_version": "2.5",
    "state_dict": {**prefixed(state, "model."), "loss.weight": torch.ones(1)},
    "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]}],
    "hyper_parameters": {"width": 2},
}

FORMS: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "data parallel": lambda state: {"state_dict": prefixed(state, "module.")},
    "compiled": lambda state: prefixed(state, "_orig_mod."),
    "data parallel, compiled": lambda state: prefixed(state, "module._orig_mod."),
    "model entry": lambda state: {"model": state, "args": {"lr": 0.1}},
    "lightning": LIGHTNING,
}


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_found(form: str, tmp_path: Path, identical: Any) -> None:
    trained, fresh = network(1), network(2)
    torch.save(FORMS[form](trained.state_dict()), tmp_path / "weights.ckpt")
    load_weights(fresh, tmp_path / "weights.ckpt")
    assert identical(dict(fresh.state_dict()), dict(trained.state_dict()))


def test_a_compiled_network_takes_the_weights_of_the_network_inside(tmp_path: Path, identical: Any) -> None:
    trained, fresh = network(1), network(2)
    compiled: Any = torch.compile(fresh, backend="eager")
    for weights in (trained.state_dict(), torch.compile(trained, backend="eager").state_dict()):
        torch.save(weights, tmp_path / "weights.pt")
        load_weights(compiled, tmp_path / "weights.pt")
        assert identical(dict(fresh.state_dict()), dict(trained.state_dict()))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_safetensors_are_read(prefix: str, tmp_path: Path, identical: Any) -> None:
    trained, fresh = network(1), network(2)
    save_file(prefixed(trained.state_dict(), prefix), tmp_path / "weights.safetensors")
    load_weights(fresh, tmp_path / "weights.safetensors")
    assert identical(dict(fresh.state_dict()), dict(trained.state_dict()))
    (tmp_path / "weights.safetensors").write_bytes(b"damaged in the head")
    with pytest.raises(UserError, match="no safetensors file, or damaged"):
        load_weights(fresh, tmp_path / "weights.safetensors")


def test_two_networks_in_a_file_are_refused(tmp_path: Path) -> None:
    state = network().state_dict()
    torch.save({"state_dict": {**prefixed(state, "student."), **prefixed(state, "teacher.")}}, tmp_path / "two.ckpt")
    with pytest.raises(UserError, match=r"below 'student\.' and 'teacher\.'"):
        load_weights(network(), tmp_path / "two.ckpt")
    torch.save({"params": state, "params_ema": state}, tmp_path / "ema.pth")
    with pytest.raises(UserError, match="expected one state dict, got params, params_ema"):
        load_weights(network(), tmp_path / "ema.pth")


def test_another_network_below_a_prefix_is_refused_by_name(tmp_path: Path) -> None:
    deeper = nn.Sequential(*network(), nn.Conv2d(2, 1, 1))
    torch.save(prefixed(deeper.state_dict(), "module."), tmp_path / "deeper.pt")
    with pytest.raises(UserError, match=r"it has 2\.bias, 2\.weight besides"):
        load_weights(network(), tmp_path / "deeper.pt")
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    with pytest.raises(UserError, match=r"none\.pt"):
        load_weights(network(), tmp_path / "none.pt")


class Command:
    """An object whose unpickling would run code."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("raise SystemExit('executed')",))


def test_code_in_a_file_is_not_executed(tmp_path: Path) -> None:
    torch.save({"state_dict": network().state_dict(), "callbacks": Command()}, tmp_path / "code.ckpt")
    with pytest.raises(UserError, match="no checkpoint that can be read safely"):
        load_weights(network(), tmp_path / "code.ckpt")
