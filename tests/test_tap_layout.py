"""Features with channels last, and tokens: stated by the ending of a tap's path, and never read as [B, C, H, W]."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from i2ikd.errors import UserError
from i2ikd.tap_layout import refuse_other_layout
from i2ikd.taps import Taps


class Last(nn.Module):
    """A convolution whose result has channels last, or is a sequence of tokens after ``extra`` others."""

    def __init__(self, tokens: bool, extra: int = 0) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 5, 2, stride=2)
        self.out = nn.Identity()
        self.tokens, self.extra = tokens, extra

    def forward(self, image: Tensor) -> Tensor:
        feature = self.convolution(image).movedim(1, -1)
        if self.tokens:
            feature = feature.flatten(1, 2)
            feature = torch.cat([feature.new_zeros(len(feature), self.extra, 5), feature], 1)
        return self.out(feature)


@pytest.mark.parametrize(
    ("network", "ending"),
    [(Last(False), ":nhwc"), (Last(True), ":tokens"), (Last(True, 1), ":tokens-1"), (Last(True, 3), ":tokens-3")],
)
@pytest.mark.parametrize("side", ["out", "out:input"])
@pytest.mark.parametrize("size", [(6, 10), (10, 6), (8, 8), (2, 14)])
def test_a_stated_layout_is_read_with_channels_first(
    network: Last, ending: str, side: str, size: tuple[int, int]
) -> None:
    image = torch.randn(2, 1, *size)
    with Taps(network, [side + ending]) as taps, torch.no_grad():
        network(image)
        assert torch.equal(taps.take([side + ending])[0], network.convolution(image))


def test_the_stages_of_swin_have_channels_last() -> None:
    swin = timm.create_model("swin_tiny_patch4_window7_224", img_size=(32, 48), window_size=2, features_only=True)
    image = torch.randn(1, 3, 32, 48)
    with Taps(swin, ["layers_0:nhwc", "layers_1:nhwc"]) as taps, torch.no_grad():
        expected = swin.eval()(image)
        for feature, stage in zip(taps.take(["layers_0:nhwc", "layers_1:nhwc"]), expected):
            assert torch.equal(feature, stage.permute(0, 3, 1, 2))


def test_tokens_that_form_no_map_are_refused() -> None:
    network = Last(True, 1)
    with Taps(network, ["out:tokens"], "teacher") as taps, pytest.raises(UserError, match="':tokens-1'"):
        network(torch.randn(1, 1, 8, 8))
        taps.take(["out:tokens"])
    with Taps(network, ["out:nhwc"]), pytest.raises(UserError, match=r"expected a feature \[B, H, W, C\]"):
        network(torch.randn(1, 1, 8, 8))


@pytest.mark.parametrize(
    ("shape", "image", "remedy"),
    [
        ((2, 16, 16, 96), (64, 64), "':nhwc'"),
        ((2, 8, 12, 40), (32, 48), "':nhwc'"),
        ((2, 65, 32), (64, 64), "':tokens'"),
    ],
)
def test_another_layout_is_noticed(shape: tuple[int, ...], image: tuple[int, int], remedy: str) -> None:
    with pytest.raises(UserError, match=remedy):
        refuse_other_layout(shape, image, "the tap 'x'")


@pytest.mark.parametrize(
    ("shape", "image"),
    [((2, 96, 16, 16), (64, 64)), ((2, 16, 16, 16), (64, 64)), ((2, 8, 8, 12), (32, 48)), ((2, 32, 30, 22), (32, 24))],
)
def test_channels_first_are_accepted(shape: tuple[int, ...], image: tuple[int, int]) -> None:
    refuse_other_layout(shape, image, "the tap 'x'")


MODULE = """
from torch import nn


class Last(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, 1, 3, padding=1)
        self.norm = nn.LayerNorm(width)

    def forward(self, image):
        return image + self.tail(self.norm(self.head(image).movedim(1, -1)).movedim(-1, 1))
"""


@pytest.mark.parametrize("distiller", ["attention", "fitnet", "similarity-preserving", "fsp"])
def test_distillers_compare_another_layout_once_it_is_stated(
    distiller: str, laboratory: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "last_networks.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    settings = [
        "student={model='import:last_networks:Last'}",
        "training.epochs=1",
        f"arms.kd-mri.distiller={distiller}",
    ]
    taps = "arms.kd-mri.pairs=[['cascades.0.layers.1', '{}'], ['cascades.1.layers.1', '{}']]"
    settings.append(taps.format("norm", "norm"))
    with pytest.raises(UserError, match=r"the tap 'norm' of the student: .* which seems to be \[B, H, W, C\]"):
        laboratory.train(laboratory.graph(*settings), "kd-mri")
    settings[-1] = taps.format("nor*:nhwc", "norm:nhwc")
    assert laboratory.train(laboratory.graph(*settings), "kd-mri").folder.finished
