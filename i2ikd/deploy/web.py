"""Page of a bundle that runs the network in a browser by onnxruntime-web."""

from __future__ import annotations

import tarfile
from importlib import resources
from pathlib import Path

from i2ikd.errors import UserError
from i2ikd.files import write_atomically
from i2ikd.preparation import Preparation

FOLDER = "web"
_PAGE = ("index.html", "page.js", "arrays.js")
_RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_PLACES = ("", "dist", "package/dist", "node_modules/onnxruntime-web/dist")


def write_web_page(folder: Path, preparation: Preparation | None, runtime: Path | None) -> None:
    """Write the page to the folder ``web`` of a bundle.

    Args:
        folder: the bundle.
        preparation: of the task; its script lets the page read volumes.
        runtime: files of onnxruntime-web, see ``runtime_files``; ``None``: the page needs them in ``web/ort``.

    Raises:
        UserError: see ``runtime_files``.
    """
    page = folder / FOLDER
    page.mkdir()
    sources = resources.files("i2ikd.deploy.standalone").joinpath(FOLDER)
    for name in _PAGE:
        write_atomically(page / name, sources.joinpath(name).read_text("utf-8"))
    if preparation is not None and preparation.script:
        write_atomically(page / "preparation.js", preparation.script_source())
    if runtime is not None:
        (page / "ort").mkdir()
        for name, content in runtime_files(runtime).items():
            write_atomically(page / "ort" / name, content)


def runtime_files(source: Path) -> dict[str, bytes]:
    """Return the files of onnxruntime-web that the page needs, by name.

    Args:
        source: the package as ``npm pack onnxruntime-web`` writes it (``.tgz``), or its folder, its folder ``dist``, or
            one with ``node_modules``.

    Raises:
        UserError: a file is missing, or the package is damaged.
    """
    if source.is_dir():
        for place in _PLACES:
            if all((source / place / name).is_file() for name in _RUNTIME):
                return {name: (source / place / name).read_bytes() for name in _RUNTIME}
        raise _missing(source)
    try:
        with tarfile.open(source) as archive:
            members = [(name, archive.extractfile(f"package/dist/{name}")) for name in _RUNTIME]
            return {name: member.read() for name, member in members if member is not None}
    except (OSError, KeyError, tarfile.TarError) as error:
        raise _missing(source) from error


def _missing(source: Path) -> UserError:
    return UserError(
        f"--web-runtime {source}: expected the package onnxruntime-web with {', '.join(_RUNTIME)}; get it with "
        "npm pack onnxruntime-web, and pass the .tgz file"
    )
