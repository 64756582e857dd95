"""Synthetic comparison with 8 arms, 2 seeds and 6 volumes of 3 slices, and synthetic images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from i2ikd.evaluation.records import NO_SEED, Record
from i2ikd.experiment.summary import Comparison, Costs, summarise
from i2ikd.report.page import page
from i2ikd.report.pictures import Picture, representative_volumes

COLUMNS = {"psnr": "psnr-volume-max", "ssim": "ssim-volume-max", "nmse": "nmse-volume", "hfn": "hfn-slice"}
ARMS = {
    "student": 31.42,
    "control": 31.55,
    "kd-mri": 31.71,
    "imitation": 31.66,
    "attention": 31.60,
    "gram_fsp": 31.52,
    "channel-wise": 31.83,
    "review": 31.48,
}
FACTS = {
    "dataset": "simulated brain, 25% & more",
    "size": "96 x 96",
    "mask": "cartesian_1d",
    "measured acceleration": "4.05",
    "slices": "train 96, val 18, test 18",
    "seeds": "0, 1",
    "training": "40 epochs a stage, batch 4, fp32, cpu",
}


def _records(arm: str, seed: int, level: float, volumes: int, of_a_subject: int) -> list[Record]:
    records = []
    for volume in range(volumes):
        draw = np.random.default_rng([volume, seed + 1, len(arm), ord(arm[0])])
        psnr = level + 1.3 * np.sin(2.1 * volume) + 0.06 * draw.standard_normal()
        for index in range(3):
            hfn = 0.9 * 10 ** (-(psnr - 20) / 22) + 0.01 * draw.random()
            scores = {
                COLUMNS["psnr"]: psnr,
                COLUMNS["ssim"]: 1 - 0.9 * 10 ** (-psnr / 24),
                COLUMNS["nmse"]: 12 * 10 ** (-psnr / 10),
                COLUMNS["hfn"]: hfn,
            }
            subject, name = f"subject{volume // of_a_subject:02}", f"subject{volume:02}"
            if of_a_subject > 1:
                name = f"session{volume % of_a_subject}"
            records.append(Record(arm, seed, subject, name, index, scores))
    return records


def _history(arm: str, seed: int, epochs: int) -> list[dict[str, Any]]:
    draw = np.random.default_rng([len(arm), seed])
    stages = [("train", ["target"])]
    if arm in ("kd-mri", "attention", "gram_fsp", "channel-wise", "review"):
        stages = [("features", [arm]), ("reconstruct", ["target", "imitation"])]
    elif arm == "control":
        stages = [("train", ["target"]), ("again", ["target"])]
    rows = []
    for place, (stage, terms) in enumerate(stages):
        for epoch in range(epochs):
            loss = 0.02 + 0.06 * np.exp(-epoch / 8) / (place + 1) + 0.001 * draw.standard_normal()
            losses = {term: float(loss * (1 + n)) for n, term in enumerate(terms)}
            validated = stage != "features" and (epoch + 1) % 2 == 0
            rows.append(
                {
                    "stage": stage,
                    "epoch": epoch,
                    "losses": {**losses, "total": sum(losses.values())},
                    "lr": 1e-3 * 0.1 ** (epoch // 30),
                    "validation": float(loss * 1.1) if validated else None,
                }
            )
    return rows


def make(
    seeds: int = 2,
    arms: dict[str, float] | None = None,
    volumes: int = 6,
    latency: bool = True,
    epochs: int = 40,
    of_a_subject: int = 1,
) -> Comparison:
    """Return a comparison that depends on the arguments only."""
    arms = ARMS if arms is None else arms
    records = _records("zero-filled", NO_SEED, 24.6, volumes, of_a_subject)
    histories = {}
    for name, level in {"teacher": 32.05, **arms}.items():
        for seed in range(seeds):
            records += _records(name, seed, level, volumes, of_a_subject)
            histories[f"{name}/seed{seed}"] = _history(name, seed, epochs)
    small = Costs(49_285, 451_215_360, 5.31 if latency else None, 0.21 if latency else None)
    costs = dict.fromkeys(arms, small)
    costs["teacher"] = Costs(141_765, 1_300_561_920, 12.9 if latency else None, 0.44 if latency else None)
    kinds: dict[str, Any] = {"zero-filled": "baseline", "teacher": "teacher", **dict.fromkeys(arms, "arm")}
    upward = {COLUMNS["psnr"]: True, COLUMNS["ssim"]: True, COLUMNS["nmse"]: False, COLUMNS["hfn"]: False}
    references = [name for name in ("student", "control", "kd-mri") if name in arms]
    comparison = summarise("brain-4x", FACTS, COLUMNS, records, kinds, costs, references, "student", upward)
    comparison.student = "student" if "student" in arms else None
    comparison.histories.update(histories)
    return comparison


@pytest.fixture(scope="session")
def make_comparison() -> Callable[..., Comparison]:
    """Factory of comparisons, for those without seeds, latency, arms or epochs."""
    return make


@pytest.fixture(scope="session")
def forty() -> Comparison:
    """Comparison with 40 arms, of which 28 have one size; read-only."""
    families = ("attention", "channel-wise", "fitnet", "gram_fsp", "review", "an-arm-with-a-long-name")
    names = ["student", "control", "kd-mri", *(f"{family}-{index}" for index in range(8) for family in families)]
    whole = make(seeds=1, arms={name: 31 + 0.02 * place for place, name in enumerate(names[:40])}, volumes=3, epochs=4)
    rows = []
    for place, row in enumerate(whole.rows):
        other = row.kind == "arm" and place >= len(whole.rows) - 12
        rows.append(replace(row, costs=Costs(20_000 + 500 * place, 200_000_000, 3 + place / 9)) if other else row)
    whole.rows = rows
    return whole


@pytest.fixture(scope="session")
def comparison() -> Comparison:
    """Comparison with all values; read-only."""
    return make()


def _head(volume: int, size: int) -> np.ndarray:
    """Return an image [size, size] in [0, 1] with a skull, two ventricles and small discs."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    draw = np.random.default_rng(volume)
    image = 0.55 * (x**2 / 0.6 + y**2 / 0.8 < 1) + 0.4 * (np.abs(x**2 / 0.64 + y**2 / 0.85 - 1) < 0.06)
    for centre in (-0.25, 0.25):
        image -= 0.4 * ((x - centre) ** 2 / 0.02 + (y + 0.05) ** 2 / 0.1 < 1)
    for _ in range(25):
        place, radius = draw.uniform(-0.5, 0.5, 2), draw.uniform(0.001, 0.01)
        image += draw.uniform(-0.2, 0.3) * ((x - place[0]) ** 2 + (y - place[1]) ** 2 < radius)
    return np.clip(image, 0, 1).astype(np.float32)


def pictures(comparison: Comparison, size: int = 96) -> list[Picture]:
    """Return synthetic images of the representative volumes: the target, blurred more for arms of lower PSNR."""
    result = []
    for place, (label, volume) in enumerate(representative_volumes(comparison).items()):
        target = _head(place, size)
        images, scores = {}, {}
        for row in comparison.rows:
            score = row.metrics["psnr"].mean
            noise = np.random.default_rng([place, len(row.arm)]).standard_normal((size, size))
            sigma = 0.4 + (33 - score) / 4
            images[row.arm] = gaussian_filter(target + 0.03 * noise, sigma).astype(np.float32)
            scores[row.arm] = score + place
        result.append(Picture(label, *volume, 1, target, images, scores))
    return result


@pytest.fixture(scope="session")
def make_pictures() -> Callable[..., list[Picture]]:
    """Factory of pictures."""
    return pictures


@pytest.fixture(scope="session")
def full(comparison: Comparison) -> str:
    """The page of the comparison with all values, with images and figures."""
    return page(comparison, pictures(comparison, 48))
