"""Every misuse of the Python interface is a ``UserError`` that names the argument."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import i2ikd
from i2ikd import Stage, Term, UserError

IMAGE = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
LOADER = [(IMAGE, IMAGE + 0.1)]


def conv(channels: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 1, 3, padding=1))


def sharing() -> dict[str, Any]:
    teacher = conv()
    student = nn.Sequential(teacher[0], nn.ReLU(), nn.Conv2d(2, 1, 3, padding=1))  # type: ignore[index]
    return {"teacher": teacher, "student": student}


DISTILL: list[tuple[Callable[[], dict[str, Any]], str]] = [
    (lambda: {"teacher": "unet"}, "teacher: expected a torch.nn.Module, got a str"),
    (lambda: {"student": conv}, "student: expected a torch.nn.Module, got a function"),
    (lambda: {"student": nn.Identity}, r"student: .* got the class Identity; pass Identity\(...\)"),
    (lambda: {"student": nn.Identity()}, "student: expected parameters to train, Identity has none"),
    (lambda: dict.fromkeys(("teacher", "student"), conv()), "two networks, got one object twice"),
    (sharing, "teacher and student share weights"),
    (lambda: {"train": []}, "train: expected at least one batch"),
    (lambda: {"train": None}, "train: expected a loader"),
    (lambda: {"train": IMAGE}, "train: expected a loader"),
    (lambda: {"train": iter(LOADER)}, "train: expected a loader that starts again"),
    (lambda: {"train": [IMAGE]}, "train: expected batches of"),
    (lambda: {"train": [(IMAGE, IMAGE[:, :, :6])]}, r"returns \(2, 1, 12, 12\) for a target of \(2, 1, 6, 12\)"),
    (lambda: {"validation": []}, "validation: expected at least one batch"),
    (lambda: {"validation": [(IMAGE[0], IMAGE[0])]}, "validation: input: expected a floating-point tensor"),
    (lambda: {"student": conv(3)}, r"student: Sequential cannot take a batch .*\[2, 1, 12, 12\]"),
    (lambda: {"recipe": "kd-mrii"}, "unknown recipe 'kd-mrii'; did you mean 'kd-mri'"),
    (lambda: {"recipe": 7}, "recipe: expected the name of a recipe, .* got a int"),
    (lambda: {"recipe": []}, "recipe: expected the name of a recipe"),
    (lambda: {"recipe": nn.L1Loss}, "recipe: expected .* got the class L1Loss"),
    (lambda: {"recipe": [Stage(name="a", terms=[Term(distiller=nn.L1Loss())])]}, "expected an i2ikd.Distiller, its"),
    (lambda: {"recipe": "kd-mri", "options": {"distiller": nn.ReLU()}}, "expected an i2ikd.Distiller, its class or"),
    (lambda: {"recipe": [Stage(name="a", terms=[Term(distiller="target")])], "options": {"alpha": 1}}, "no option"),
    (lambda: {"options": {"alfa": 1}}, "unknown option 'alfa'; did you mean 'alpha'"),
    (lambda: {"recipe": "kd-mri"}, r"set pairs = \[\["),
    (lambda: {"recipe": "kd-mri", "pairs": [("9", "1")]}, "no module|matches no"),
    (lambda: {"recipe": "kd-mri", "pairs": [("1",)]}, r"pairs: expected a list of \(teacher path, student path\)"),
    (lambda: {"recipe": "kd-mri", "pairs": "1"}, "pairs: expected a list"),
    (lambda: {"epochs": 0}, "epochs: expected an integer of at least 1, got 0"),
    (lambda: {"epochs": 1.5}, "epochs: expected an integer"),
    (lambda: {"steps": 0}, "steps: expected an integer of at least 1, got 0"),
    (lambda: {"seed": -1}, "seed: expected an integer of at least 0"),
    (lambda: {"loss": "l1"}, "loss: expected a function"),
    (lambda: {"loss": lambda output, target: (output - target).abs()}, r"loss: expected a scalar tensor .*, got a"),
    (lambda: {"training": {"learning_rate": 1}}, "training: unknown option 'learning_rate'"),
    (lambda: {"training": {"augmentations": ["flip"]}}, r"augmentations = \['flip'\]: expected none, because the load"),
    (lambda: {"callback": print}, "callback: expected an i2ikd.Callback"),
    (lambda: {"teacher": None, "recipe": "imitation"}, "teacher"),
]


@pytest.mark.parametrize(("changes", "message"), DISTILL)
def test_misuse_of_distill_is_a_user_error(changes: Callable[[], dict[str, Any]], message: str) -> None:
    arguments = {"teacher": conv(), "student": conv(), "train": LOADER, "recipe": "imitation", "epochs": 1}
    with pytest.raises(UserError, match=message):
        i2ikd.distill(**(arguments | changes()))


ONE = conv()
COMPARE: list[tuple[dict[str, Any], str]] = [
    ({"test": None}, "test: expected a data set or loader for the table, got None"),
    ({"test": []}, "test: expected at least one sample"),
    ({"validation": None}, "validation: expected a data set"),
    ({"train": IMAGE}, "train: expected items of"),
    ({"train": [1]}, "train: expected items of .* got a int as item 0"),
    ({"train": [(IMAGE[0, 0], IMAGE[0, 0])]}, r"the input of item 0 as a tensor \[C, H, W\], got \[12, 12\]"),
    ({"test": [(IMAGE[0], IMAGE[0])], "train": [(IMAGE[0], IMAGE[0])]}, "item 0 and 0 more are in 'train' too"),
    (
        {
            part: [{"input": IMAGE[i], "target": IMAGE[i], "subject": "anna"}]
            for i, part in enumerate(("train", "test"))
        },
        "'anna' is in 'train' too; divide the data by subject",
    ),
    ({"arms": []}, "arms: expected at least one"),
    ({"arms": "kd-mri"}, r"write arms=\[...\]"),
    ({"arms": [7]}, "arms: expected the name of a recipe"),
    ({"arms": [[Stage(name="a", terms=[Term(distiller="target")])]]}, "stages have no name of their own"),
    ({"arms": ["imitation", "imitation"]}, "two arms are named 'imitation'"),
    ({"arms": [{"name": "a", "recipe": "imitation", "alfa": 1}]}, "unknown option 'alfa'"),
    ({"seeds": 0}, "seeds: expected at least 1"),
    ({"seeds": "3"}, "seeds: expected a number"),
    ({"seeds": [1, 1]}, "seeds must differ"),
    ({"epochs": -1}, "epochs"),
    ({"teacher": 7}, "teacher: expected a torch.nn.Module, or a function"),
    ({"student": ONE, "teacher": ONE}, "one object twice"),
    ({"student": lambda: 7}, "student: expected the function to return a torch.nn.Module, got a int"),
    ({"student": lambda: ONE}, "one object twice"),
    ({"student": lambda width: conv()}, "expected a function without arguments"),
    ({"student": lambda: conv(2)}, "student: Sequential cannot take a batch"),
    ({"metrics": {"psnr": "psnrr"}}, "unknown metric 'psnrr'"),
    ({"training": {"lr": "fast"}}, "lr = 'fast'"),
]


@pytest.mark.parametrize(("changes", "message"), COMPARE)
def test_misuse_of_compare_is_a_user_error(world: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        world.compare(**changes)


def test_a_loss_that_is_not_finite_names_the_step(world: Any) -> None:
    loader = [(torch.full((1, 1, 8, 8), torch.nan), torch.zeros(1, 1, 8, 8))]
    with pytest.raises(UserError, match="the term 'target' became nan"):
        i2ikd.distill(None, copy.deepcopy(world.teacher), loader, recipe="student", epochs=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: i2ikd.load(3), "load: expected the folder of a run or a bundle, got a int"),  # type: ignore[arg-type]
        (lambda: i2ikd.load("none"), "none"),
        (lambda: i2ikd.get("modell", "plain-cnn"), "no kind of component 'modell'; did you mean 'model'"),
        (lambda: i2ikd.get("model", nn.Conv2d), "name: expected a text"),  # type: ignore[call-overload]
        (lambda: i2ikd.create(3, "plain-cnn"), "kind: expected a text"),  # type: ignore[call-overload]
        (lambda: i2ikd.create("model", "plain-cnn", widht=3), "unknown option 'widht'"),
        (lambda: i2ikd.list_components("nets"), "no kind of component 'nets'"),
    ],
)
def test_misuse_of_names_is_a_user_error(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call()
