"""The page of a bundle runs its models in a browser; onnxruntime-web is put into the bundle on request only."""

from __future__ import annotations

import html
import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import i2ikd
from i2ikd import Preparation, UserError
from i2ikd.deploy.web import runtime_files, write_web_page
from i2ikd.zoo import located
from tests.served import CHROMIUM, dumped, served

PREPARATION = Preparation("i2ikd_mri.preparation", {}, script="i2ikd_mri:preparation.js")
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
ORT = os.environ.get("I2IKD_ORT_WEB", "")


def test_the_runtime_is_taken_from_a_package_or_a_folder(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "ort.tgz", "w:gz") as archive:
        for name in RUNTIME:
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    folder = tmp_path / "node_modules" / "onnxruntime-web" / "dist"
    folder.mkdir(parents=True)
    for name in RUNTIME:
        (folder / name).write_text(name)
    wanted = {name: name.encode() for name in RUNTIME}
    for source in (tmp_path / "ort.tgz", tmp_path, folder, folder.parent):
        assert runtime_files(source) == wanted
    (tmp_path / "damaged.tgz").write_bytes(b"no archive")
    for source in (tmp_path / "damaged.tgz", tmp_path / "none.tgz", folder.parents[2]):
        (folder / RUNTIME[1]).unlink(missing_ok=True)
        with pytest.raises(UserError, match=f"--web-runtime {source}: expected the package onnxruntime-web"):
            runtime_files(source)


def test_the_page_has_no_runtime_and_no_preparation_unless_requested(tmp_path: Path) -> None:
    write_web_page(tmp_path, None, None)
    assert {path.name for path in (tmp_path / "web").iterdir()} == {"index.html", "page.js", "arrays.js"}
    page = (tmp_path / "web" / "index.html").read_text("utf-8")
    assert "http" not in page.replace("http-equiv", ""), "nothing is loaded from another place"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Serve a bundle of the zoo with its page."""
    if CHROMIUM is None or not ORT:
        pytest.skip("needs chromium, and the package onnxruntime-web at the path I2IKD_ORT_WEB")
    bundle = tmp_path / "bundle"
    shutil.copytree(located("zoo:phantom-4x-student"), bundle)
    write_web_page(bundle, PREPARATION, Path(ORT))
    with served(bundle) as root:
        yield f"{root}web/"


def results(address: str) -> dict[str, Any]:
    """Open an address in Chromium, and return the numbers that the page shows."""
    page = dumped(address)
    assert 'data-state="done"' in page, re.findall(r'role="alert">([^<]*)', page)
    (text,) = re.findall(r'id="result">([^<]*)', page)
    assert page.count("<canvas") == 5, "input, pattern, output, reference, error"
    found: dict[str, Any] = json.loads(html.unescape(text))
    return found


def test_the_test_vector_is_reproduced_in_chromium(address: str) -> None:
    assert results(address)["rms"] < 1e-5


def test_a_volume_is_prepared_as_by_the_program_of_the_bundle(address: str, tmp_path: Path) -> None:
    """Also one of another size where the options state one: it is resampled."""
    test = i2ikd.create("task", "mri-recon", dataset={"name": "phantom", "size": [64, 64], "slices": 3}).dataset("test")
    volume = 300 * np.stack([test[index].target[0].numpy() for index in range(3)])
    np.save(tmp_path / "bundle" / "new.npy", volume)
    config = tmp_path / "bundle" / "config.json"
    document = json.loads(config.read_text("utf-8"))
    for size in (None, [64, 64]):
        document["preparation"]["size"] = size
        config.write_text(json.dumps(document), encoding="utf-8")
        found = results(f"{address}?file=/new.npy")
        prepare = PREPARATION.load()
        with np.load(tmp_path / "bundle" / "preparation.npz") as arrays:
            inputs = prepare.network_inputs(volume[1] / volume.max(), {**document["preparation"]}, arrays)
        target = prepare._resampled(volume[1] / volume.max(), size)
        output = i2ikd.Predictor(tmp_path / "bundle")(input=inputs["input"][None], mask=inputs["mask"][None])[0, 0]
        rms = float(np.sqrt(np.mean((output - target) ** 2)))
        assert found["rms"] == pytest.approx(rms, rel=1e-4)
        assert found["largest"] == pytest.approx(np.abs(output - target).max(), rel=1e-3)
        volume = np.pad(volume, [(0, 0), (3, 2), (0, 9)])
        np.save(tmp_path / "bundle" / "new.npy", volume)
