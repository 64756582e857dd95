"""Images of a report: selection of volumes and arms, storage, and rendering on one scale."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from i2ikd.errors import UserError
from i2ikd.evaluation.records import VolumeName
from i2ikd.experiment.summary import Comparison
from i2ikd.report.gallery import gallery
from i2ikd.report.pictures import Picture, collect_pictures, load_pictures, representative_volumes, save_pictures
from i2ikd.sample import Sample, SampleKey
from i2ikd.task import SampleDataset, Task

if TYPE_CHECKING:
    from i2ikd.experiment.graph import RunGraph

SHAPE = (12, 16)


class Slices(SampleDataset):
    """Dataset with three slices per volume; the pixels of a target equal its index."""

    @property
    def keys(self) -> list[SampleKey]:
        return [SampleKey(volume=f"subject{volume:02}", index=index) for volume in range(6) for index in (4, 5, 6)]

    def sample(self, index: int, seed: int | None) -> Sample:
        target = torch.full((1, *SHAPE), float(index))
        return Sample(target / 2, target, {}, self.keys[index])


class Slicewise(Task):
    def dataset(self, split: str, augmentations: Any = ()) -> SampleDataset:
        assert split == "test"
        return Slices()

    def identity(self) -> dict[str, Any]:
        return {}


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.factor * image


class Finished:
    """Stands for a graph of runs: row and seed in place of each run, and the factor of its network."""

    def __init__(self) -> None:
        task = Slicewise()
        self.context = SimpleNamespace(
            task=task,
            device=torch.device("cpu"),
            dataset=task.dataset,
            registry=None,
            experiment=SimpleNamespace(arm=lambda name: SimpleNamespace(name=name)),
        )

    def teacher_runs(self, seed: int) -> Any:
        return (("teacher", seed),)

    def arm_run(self, arm: Any, seed: int) -> Any:
        return arm.name, seed

    def trained_transforms(self, name: str) -> list[Any]:
        return []


@pytest.fixture(autouse=True)
def networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished network multiplies its input."""

    def load(registry: object, runs: Any, combine: object) -> nn.Module:
        ((name, seed),) = runs
        return Times({"teacher": 2.0, "channel-wise": 1.9}.get(name, 1.5) + seed)

    monkeypatch.setattr("i2ikd.experiment.scores.load_input", load)


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))


def test_representative_volumes_are_ranked_by_the_mean_over_arms(comparison: Comparison) -> None:
    scores: dict[VolumeName, list[float]] = {}
    for record in comparison.records:
        if record.arm not in ("zero-filled", "teacher"):
            scores.setdefault(record.whole, []).append(record.scores["psnr-volume-max"])
    order = sorted(scores, key=lambda volume: -sum(scores[volume]))
    assert representative_volumes(comparison) == {"best": order[0], "median": order[3], "worst": order[5]}


def test_splits_of_two_and_one_volumes_have_fewer_representatives(make_comparison: Callable[..., Comparison]) -> None:
    assert list(representative_volumes(make_comparison(volumes=2, epochs=0))) == ["best", "worst"]
    assert representative_volumes(make_comparison(volumes=1, epochs=0)) == {"only": ("subject00", "subject00")}


def test_representative_volumes_of_one_name_are_distinguished_by_their_subjects(
    make_comparison: Callable[..., Comparison],
) -> None:
    single, grouped = make_comparison(epochs=0), make_comparison(of_a_subject=3, epochs=0)
    pairs = zip(representative_volumes(single).items(), representative_volumes(grouped).values(), strict=True)
    for (label, volume), found in pairs:
        number = int(volume.volume[-2:])
        assert found == (f"subject{number // 3:02}", f"session{number % 3}"), label


def test_the_title_of_a_picture_contains_the_subject(comparison: Comparison) -> None:
    target = np.random.default_rng(0).random((16, 16)).astype(np.float32)

    def title(subject: str, volume: str) -> str:
        picture = Picture("only", subject, volume, 3, target, {"arm": target / 2}, {})
        return gallery([picture], baselines=[], arms=["arm"], decimals=2, unit="dB").strips[0].title

    assert title("anna", "session-1") == "only volume: anna, session-1, slice 3"
    assert title("anna", "anna/session-1") == "only volume: anna/session-1, slice 3"


def test_images_are_outputs_of_the_first_seed_on_middle_slices(comparison: Comparison) -> None:
    pictures = collect_pictures(cast("RunGraph", Finished()), comparison)
    assert [picture.label for picture in pictures] == ["best", "median", "worst"]
    for picture in pictures:
        place = 3 * int(picture.volume[-2:]) + 1
        assert picture.slice == 5 and picture.target[3, 4] == place
        np.testing.assert_allclose(picture.images["input"], place / 2)
        np.testing.assert_allclose(picture.images["teacher"], place)
        np.testing.assert_allclose(picture.images["channel-wise"], 0.95 * place, rtol=1e-6)
        record = next(r for r in comparison.records if (r.arm, r.seed, r.volume) == ("review", 0, picture.volume))
        assert picture.scores["review"] == record.scores["psnr-volume-max"]


def test_at_most_eight_arms_are_selected_references_first(make_comparison: Callable[..., Comparison]) -> None:
    levels = {f"arm{number}": 31 + number / 10 for number in range(9)}
    comparison = make_comparison(arms={**levels, "kd-mri": 30.0, "student": 29.0}, epochs=0)
    (picture, *_) = collect_pictures(cast("RunGraph", Finished()), comparison)
    shown = [row for row in picture.images if row not in ("input", "teacher")]
    assert shown == ["arm3", "arm4", "arm5", "arm6", "arm7", "arm8", "kd-mri", "student"]


def test_arms_without_a_score_are_shown_after_all_others(make_comparison: Callable[..., Comparison]) -> None:
    levels = {f"arm{number}": 31 + number / 10 for number in range(6)}
    comparison = make_comparison(arms={"none": math.nan, **levels, "kd-mri": 30.0, "student": 29.0}, epochs=0)
    (picture, *_) = collect_pictures(cast("RunGraph", Finished()), comparison)
    assert "none" not in picture.images and "arm0" in picture.images


def test_a_volume_missing_from_the_data_is_reported(comparison: Comparison) -> None:
    graph = cast("RunGraph", Finished())
    graph.context.dataset = lambda split: SimpleNamespace(keys=[])
    message = r"the test split has no volume 'subject0\d' of the subject 'subject0\d': the data has changed"
    with pytest.raises(UserError, match=message):
        collect_pictures(graph, comparison)


def test_stored_pictures_are_restored_to_half_precision_of_their_errors(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    target = draw.random((7, 5)).astype(np.float32)
    image = (target + 0.01 * draw.standard_normal((7, 5))).astype(np.float32)
    save_pictures([Picture("only", "a", "a/b", 3, target, {"kd-mri": image}, {"kd-mri": 31.25})], tmp_path)
    (found,) = load_pictures(tmp_path)
    assert (found.label, found.subject, found.volume, found.slice) == ("only", "a", "a/b", 3)
    assert found.scores == {"kd-mri": 31.25}
    np.testing.assert_allclose(found.target, target, atol=5e-4)
    np.testing.assert_allclose(found.images["kd-mri"], image, atol=3e-5)


def test_missing_pictures_are_empty_and_damaged_ones_are_reported(tmp_path: Path) -> None:
    assert load_pictures(tmp_path) == []
    for damage in (b"nothing", b"PK\x03\x04 half a file"):
        (tmp_path / "pictures.npz").write_bytes(damage)
        with pytest.raises(UserError, match=r"pictures\.npz is damaged"):
            load_pictures(tmp_path)


def test_error_maps_share_one_scale_and_the_inset_covers_the_largest_error() -> None:
    target = np.ones((40, 60), np.float32)
    network, baseline = target.copy(), target - 0.9
    network[28:36, 6:18] += 0.25
    picture = Picture("only", "a", "a", 0, target, {"input": baseline, "arm": network}, {"arm": 30.126})
    shown = gallery([picture], ["input"], ["arm"], decimals=2, unit="dB")
    (strip,) = shown.strips
    assert shown.limit == "0.25"
    assert [tile.name for tile in strip.tiles] == ["input", "target", "arm"]
    assert strip.tiles[2].score == "30.13 dB" and strip.tiles[1].error == ""
    region = strip.region
    assert (region.height, region.width) == (10, 15)
    assert region.top <= 28 and region.top + 10 >= 36 and region.left <= 6 and region.left + 15 >= 18
    assert region.corner == "high right"
    assert decoded(strip.tiles[2].inset).size == (15, 10)
    error = np.asarray(decoded(strip.tiles[2].error))
    assert set(np.unique(error)) == {0, 255} and error[30, 10] == 255
    assert decoded(strip.tiles[0].error).convert("RGB").getpixel((0, 0)) == decoded(shown.bar).convert("RGB").getpixel(
        (255, 0)
    )


def test_large_images_are_block_averaged_but_not_their_insets() -> None:
    target = np.zeros((640, 368), np.float32)
    target[::2] = 1
    picture = Picture("only", "a", "a", 0, target, {"arm": target}, {})
    (strip,) = gallery([picture], [], ["arm"], decimals=2, unit="").strips
    small = decoded(strip.tiles[0].image)
    assert small.size == (184, 320) and set(np.unique(np.asarray(small))) == {128}
    assert decoded(strip.tiles[0].inset).size == (92, 160)


def test_three_channels_are_colours_and_errors_are_their_mean() -> None:
    target = np.zeros((3, 16, 16), np.float32)
    target[0], target[1, :8] = 1.0, 0.5
    picture = Picture("only", "a", "a", 0, target, {"arm": target + 0.3}, {})
    strip = gallery([picture], (), ("arm",), 2, "dB").strips[0]
    shown = decoded(strip.tiles[0].image)
    assert shown.mode == "RGB"
    assert shown.getpixel((0, 0)) == (255, 128, 0) and shown.getpixel((0, 15)) == (255, 0, 0)
    assert decoded(strip.tiles[1].error).size == (16, 16)
    assert "channels" not in strip.title


def test_other_numbers_of_channels_are_shown_as_their_mean_with_a_statement() -> None:
    target = np.random.default_rng(0).random((5, 16, 16), np.float32)
    picture = Picture("only", "a", "a", 0, target, {"arm": target}, {})
    strip = gallery([picture], (), ("arm",), 2, "dB").strips[0]
    assert decoded(strip.tiles[0].image).mode == "L"
    assert strip.title.endswith("mean of 5 channels")
