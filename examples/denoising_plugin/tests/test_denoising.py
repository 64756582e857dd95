"""What the parts do, in numbers that can be had in another way."""

from __future__ import annotations

from pathlib import Path

import i2ikd_denoising
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from i2ikd_denoising.command import show
from i2ikd_denoising.edges import edge_map
from i2ikd_denoising.metric import GradientPsnr
from i2ikd_denoising.network import DenoisingCNN
from i2ikd_denoising.pairs import middle
from i2ikd_denoising.photographs import SPLITS, Photographs, shipped
from i2ikd_denoising.reader import PhotographReader
from i2ikd_denoising.task import Denoising
from PIL import Image
from torch import nn

from i2ikd import Taps, UserError
from i2ikd.config import check_experiment, read_experiment


def test_photographs_are_grey_in_unit_range_and_in_one_split() -> None:
    names = [file for split in SPLITS.values() for file in split]
    assert len(set(names)) == len(names)
    for name in names:
        picture = shipped(name)
        assert picture.ndim == 2 and picture.dtype == np.float32
        assert picture.min() >= 0 and 0.3 < picture.max() <= 1.0001


def test_crops_do_not_overlap_and_are_parts_of_their_photograph() -> None:
    (volume,) = Photographs(crop=100, crops=5, photographs=1).volumes("test")
    whole = shipped("chelsea.png")
    assert (volume.name, len(volume), whole.shape) == ("chelsea", 5, (300, 451))
    np.testing.assert_array_equal(volume[0]["image"], whole[:100, :100])
    np.testing.assert_array_equal(volume[4]["image"], whole[200:300, 300:400])
    with pytest.raises(UserError, match=r"text has 172x448 pixels, too few for a crop of 200"):
        len(Photographs(crop=200).volumes("train")[-1])


def test_the_noise_has_its_level_and_stays_unless_it_is_a_view() -> None:
    task = Denoising(dataset={"name": "photographs", "crop": 96, "crops": 2, "photographs": 1}, noise=0.2)
    fixed, varying = task.dataset("train"), task.dataset("train", ["noise"])
    sample = fixed[1]
    noise = sample.input - sample.target
    assert noise.std().item() == pytest.approx(0.2, rel=0.03)
    assert (sample.conditions["noise_level"] == 0.2).all() and noise.mean().abs() < 0.01
    assert torch.equal(fixed.sample(1, 3).input, sample.input)
    assert torch.equal(varying.sample(1, 3).target, sample.target)
    assert not torch.equal(varying.sample(1, 3).input, varying.sample(1, 4).input)
    assert not torch.equal(noise, (fixed[0].input - fixed[0].target))


def test_the_network_gives_its_input_where_its_last_layer_says_nothing() -> None:
    network = DenoisingCNN(depth=5, channels=3)
    nn.init.zeros_(network.layers[-1][0].weight)
    nn.init.zeros_(network.layers[-1][0].bias)
    image = torch.rand(2, 1, 7, 9)
    assert torch.equal(network(image, torch.full_like(image, 0.1)), image)


def test_pairs_are_the_middle_activations_of_any_two_depths() -> None:
    teacher, student = DenoisingCNN(depth=9, channels=2), DenoisingCNN(depth=2, channels=2)
    assert middle(teacher, student) == [("layers.3", "layers.0")]
    for network, path in zip((teacher, student), middle(teacher, student)[0]):
        with Taps(network, [path]) as taps:
            network(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8))
            assert taps.take([path])[0].min() >= 0
    with pytest.raises(UserError, match="the student is a Conv2d"):
        middle(teacher, nn.Conv2d(1, 1, 3))


def test_an_edge_map_is_the_length_of_the_gradient_whatever_the_scale() -> None:
    slope = torch.arange(6.0)[:, None] * 3 + torch.arange(8.0)[None, :] * 4
    features = torch.stack([slope - 1, slope + 1])[None]
    inner = edge_map(features)[0, 0, :-1, :-1]
    torch.testing.assert_close(inner, inner[0, 0].expand_as(inner))
    last_row, last_column = edge_map(features)[0, 0, -1, 0], edge_map(features)[0, 0, 0, -1]
    torch.testing.assert_close(last_row / inner[0, 0], torch.tensor(4 / 5))
    torch.testing.assert_close(last_column / inner[0, 0], torch.tensor(3 / 5))
    torch.testing.assert_close(edge_map(features * 7)[..., :-1, :], edge_map(features)[..., :-1, :])
    torch.testing.assert_close(edge_map(torch.zeros(1, 3, 4, 4)), torch.ones(1, 1, 4, 4))


def test_the_metric_of_a_tilted_error_is_its_slope() -> None:
    target = np.random.default_rng(0).random((9, 7))
    tilt = 0.01 * np.arange(9)[:, None] + 0.02 * np.arange(7)[None, :]
    expected = -10 * np.log10(0.01**2 + 0.02**2)
    assert GradientPsnr()(target + tilt, target) == pytest.approx(expected)
    assert GradientPsnr()(target + 0.3, target) == 100, "a constant error has no gradient"


def test_the_metric_refuses_images_of_another_range() -> None:
    target = np.full((4, 5), 200.0)
    with pytest.raises(UserError, match=r"expected a target in 0\.\.1, got 200"):
        GradientPsnr()(target, target)


def test_a_photograph_is_read_and_written_in_unit_range(tmp_path: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (6, 4), np.uint8)
    colours = np.stack([grey, grey, grey], -1)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(colours).save(tmp_path / "colours.bmp")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    task = Denoising(noise=0.3)
    for name in ("grey.png", "colours.bmp", "deep.png"):
        (sample,) = (task.sample_from_file(tmp_path / name)[0],)
        np.testing.assert_allclose(sample.input[0], grey / 255, atol=1e-6)
        assert not sample.target.any() and (sample.conditions["noise_level"] == np.float32(0.3)).all()
    task.write([sample.input + 2 * (sample.input > 0.5)], tmp_path / "grey.png", tmp_path / "out.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), np.where(grey > 127, 255, grey))
    with pytest.raises(UserError, match="no picture can be written with this ending"):
        task.write([sample.input], tmp_path / "grey.png", tmp_path / "out.xyz")


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG torn")
    with pytest.raises(UserError, match=r"torn\.png: it cannot be read as a picture"):
        PhotographReader()(tmp_path / "torn.png")[0]
    with pytest.raises(UserError, match=r"notes\.txt: the task denoising reads \.jpg"):
        Denoising().sample_from_file(tmp_path / "notes.txt")


def test_the_command_puts_a_photograph_beside_its_noisy_self(tmp_path: Path) -> None:
    result = CliRunner().invoke(show, ["coins", "--noise", "0", "--output", str(tmp_path / "row.png")])
    assert result.exit_code == 0 and "coins, clean | noisy" in result.output
    row = np.asarray(Image.open(tmp_path / "row.png"))
    assert row.shape == (303, 2 * 384)
    np.testing.assert_array_equal(row[:, :384], row[:, 384:])
    with pytest.raises(UserError, match="there is no photograph 'cones'"):
        CliRunner().invoke(show, ["cones", "--output", "x.png"], catch_exceptions=False)


def test_every_experiment_that_is_shipped_is_one() -> None:
    package = Path(i2ikd_denoising.__file__).parent
    experiments = [read_experiment(package / name) for name in ("demo.toml", "template.toml")]
    experiments.append(read_experiment(Path(__file__).parents[1] / "experiment.toml"))
    for experiment in experiments:
        again = check_experiment(experiment.model_dump(), "again")
        assert again.task.name == "denoising" and again.arm("kd-edges").options["distiller"] == "edge-map"
