"""Run a delivered network with NumPy and onnxruntime alone; nibabel is used for NIfTI files where it is installed.

python run.py --check                                  compare the models with the expected output of the test vector
python run.py --input scan.nii.gz --output out.nii.gz  a volume, in the units of the input; also .npy [slices, H, W]
python run.py --input inputs.npz --output image.npy    inputs of the network as they are, named as in config.json
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent
NIFTI = (".nii", ".nii.gz")


def load(model: str, threads: int) -> Any:
    """Load a model of this folder in ONNX Runtime.

    Args:
        model: name of the file.
        threads: CPU threads; 0: those that ONNX Runtime chooses.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(FOLDER / model), options, providers=["CPUExecutionProvider"])


def wrong_files() -> list[str]:
    """Return the names of files whose SHA-256 sum is not the one in SHA256SUMS."""
    lines = (FOLDER / "SHA256SUMS").read_text("utf-8").splitlines()
    sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    return [
        name
        for name, digest in sums.items()
        if not (FOLDER / name).is_file() or hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() != digest
    ]


def check(config: dict[str, Any], threads: int) -> list[str]:
    """Return what is wrong with the folder: files that changed, and models that do not give the expected output.

    Args:
        config: content of config.json.
        threads: CPU threads.
    """
    problems = [f"{name}: expected the content of SHA256SUMS, got another" for name in wrong_files()]
    with np.load(FOLDER / "test_vector.npz") as archive:
        vector = dict(archive)
    expected = vector.pop("expected")
    for name, model in config["models"].items():
        (output,) = load(name, threads).run(None, vector)
        rms = float(np.sqrt(np.mean((output - expected) ** 2)))
        print(f"{name}: root mean square difference {rms:.3g}, limit {model['rms_limit']:.3g}")
        if not rms <= model["rms_limit"]:
            problems.append(f"{name}: expected a difference of at most {model['rms_limit']:.3g}, got {rms:.3g}")
    return problems


def checked(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, Any], where: object) -> dict[str, np.ndarray]:
    """Return the inputs of the network as float32, or end the program.

    Args:
        arrays: by name.
        shapes: of the inputs, as in config.json.
        where: prefix of the message.
    """
    missing = [name for name in shapes if name not in arrays]
    if missing:
        sys.exit(f"{where}: expected the arrays {', '.join(shapes)}, got {', '.join(arrays) or 'none'}")
    for name, shape in shapes.items():
        fits = arrays[name].ndim == len(shape) and all(
            isinstance(wanted, str) or wanted == got for wanted, got in zip(shape, arrays[name].shape)
        )
        if not fits or np.iscomplexobj(arrays[name]):
            sys.exit(f"{where}: {name}: expected real values {shape}, got {arrays[name].dtype} {arrays[name].shape}")
    return {name: np.ascontiguousarray(arrays[name], np.float32) for name in shapes}


def read_array(path: Path) -> Any:
    """Read a .npy or .npz file without executing what is in it, or end the program.

    Args:
        path: the file.
    """
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        sys.exit(f"{path}: cannot be read: {error}")


def read_volume(path: Path, axis: int | None) -> tuple[np.ndarray, Any]:
    """Read a volume as float32 or complex64 [slices, H, W], with its NIfTI image, or end the program.

    Args:
        path: .npy, .nii or .nii.gz.
        axis: slice axis; ``None``: 0 of .npy, 2 of NIfTI.
    """
    image = None
    if path.name.lower().endswith(NIFTI):
        nibabel = nibabel_of(path)
        try:
            image = nibabel.load(path)
            values = np.asarray(image.dataobj)
        except Exception as error:  # of nibabel, of several types
            sys.exit(f"{path}: cannot be read: {error}")
        if values.ndim == 4 and values.shape[3] == 1:
            values = values[..., 0]
    else:
        values = read_array(path)
    if values.ndim not in (2, 3) or 0 in values.shape or values.dtype.kind not in "biufc":
        sys.exit(f"{path}: expected numbers of two or three axes, got {values.dtype} {list(values.shape)}")
    if values.ndim == 2:
        values = values[..., None] if image is not None else values[None]
        axis = None
    values = np.moveaxis(values, axis if axis is not None else 0 if image is None else 2, 0)
    return np.ascontiguousarray(values, np.complex64 if values.dtype.kind == "c" else np.float32), image


def write_volume(path: Path, volume: np.ndarray, image: Any, axis: int | None, size: tuple[int, int]) -> None:
    """Write a volume.

    Args:
        path: .npy, .nii or .nii.gz.
        volume: [slices, H, W].
        image: NIfTI image of the input, whose affine is adapted to the size of the slices; ``None``: there is none.
        axis: slice axis of a NIfTI file; ``None``: 2.
        size: (H, W) of the slices of the input.
    """
    if not path.name.lower().endswith(NIFTI):
        np.save(path, volume)
        return
    place = 2 if axis is None or image is None or len(image.shape) == 2 else axis
    nibabel = nibabel_of(path)
    grid, affine = np.eye(4), np.eye(4) if image is None else image.affine
    for position, (before, after) in zip([one for one in range(3) if one != place], zip(size, volume.shape[1:])):
        grid[position, position] = before / after
        grid[position, 3] = before // 2 - (after // 2) * before / after
    result = nibabel.Nifti1Image(np.moveaxis(volume, 0, place), affine @ grid)
    if image is not None:
        result.header["xyzt_units"], result.header["descrip"] = image.header["xyzt_units"], image.header["descrip"]
        codes = int(image.header["qform_code"]), int(image.header["sform_code"])
        if any(codes):
            result.set_qform(result.affine, codes[0])
            result.set_sform(result.affine, codes[1])
    nibabel.save(result, path)


def nibabel_of(path: Path) -> Any:
    """Import nibabel, or end the program.

    Args:
        path: the file that needs it.
    """
    try:
        import nibabel
    except ImportError:
        sys.exit(f"{path}: NIfTI files need nibabel: pip install nibabel; or use .npy")
    return nibabel


def load_preparation() -> Any:
    """Import preparation.py of this folder: what the task does with the values of a file."""
    specification = importlib.util.spec_from_file_location("preparation", FOLDER / "preparation.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def process_volume(arguments: argparse.Namespace, config: dict[str, Any]) -> None:
    """Compute the images of a volume, slice by slice, and write them.

    Args:
        arguments: of the command line.
        config: content of config.json.
    """
    preparation = load_preparation()
    options = {**config["preparation"], "kspace": arguments.kspace, "simulate": arguments.simulate}
    with np.load(FOLDER / "preparation.npz") as archive:
        arrays = dict(archive)
    if arguments.mask is not None:
        arrays["mask"] = np.float32(read_array(arguments.mask))
    axis = arguments.axis if arguments.axis is not None else options.get("axis")
    volume, image = read_volume(arguments.input, axis)
    session, results = load(arguments.model, arguments.threads), []
    try:
        scale = np.float32(preparation.scale_of(volume, options))
        for values in volume:
            inputs = preparation.network_inputs(values / scale, options, arrays)
            batch = checked({name: array[None] for name, array in inputs.items()}, config["inputs"], arguments.input)
            (output,) = session.run(None, batch)
            results.append(preparation.image_of(output[0], options) * scale)
    except ValueError as error:
        sys.exit(f"{arguments.input}: {error}")
    height, width = volume.shape[1:]
    write_volume(arguments.output, np.stack(results), image, axis, (height, width))


def process_inputs(arguments: argparse.Namespace, config: dict[str, Any]) -> None:
    """Compute the images of inputs of the network as they are.

    Args:
        arguments: of the command line.
        config: content of config.json.
    """
    loaded = read_array(arguments.input)
    arrays = dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else {next(iter(config["inputs"])): loaded}
    batch = checked(arrays, config["inputs"], arguments.input)
    (image,) = load(arguments.model, arguments.threads).run(None, batch)
    np.save(arguments.output, image)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare sums and outputs with the expected ones")
    parser.add_argument("--input", type=Path, help="volume (.npy, .nii, .nii.gz), or inputs of the network (.npz)")
    parser.add_argument("--output", type=Path, help="file to write (.npy, .nii, .nii.gz)")
    parser.add_argument("--model", default="model.onnx", help="model.onnx or model.int8.onnx")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; default: those of ONNX Runtime")
    parser.add_argument("--axis", type=int, choices=(0, 1, 2), help="slice axis; default: 0 of .npy, 2 of NIfTI")
    parser.add_argument(
        "--kspace", action="store_true", help="the volume is undersampled k-space, 0 where not measured"
    )
    parser.add_argument("--mask", type=Path, help=".npy file with the undersampling mask, [H, 1], [1, W] or [H, W]")
    parser.add_argument("--simulate", action="store_true", help="lower the resolution of fully sampled slices first")
    parser.add_argument("--force", action="store_true", help="overwrite an existing output")
    arguments = parser.parse_args()
    config = json.loads((FOLDER / "config.json").read_text("utf-8"))
    if arguments.check:
        problems = check(config, arguments.threads)
        if problems:
            sys.exit("\n".join(problems))
        print("passed")
        return
    if arguments.input is None or arguments.output is None:
        parser.error("expected --check, or --input and --output")
    if arguments.model not in config["models"]:
        parser.error(f"--model: expected one of {', '.join(config['models'])}, got {arguments.model}")
    if arguments.output.exists() and not arguments.force:
        sys.exit(f"{arguments.output} exists already; overwrite it with --force, or choose another file")
    try:
        if arguments.input.suffix == ".npz" or config.get("preparation") is None:
            process_inputs(arguments, config)
        else:
            process_volume(arguments, config)
    except OSError as error:
        sys.exit(f"{arguments.output}: cannot be written: {error}")


if __name__ == "__main__":
    main()
