"""Comparison of a finished run's files with its manifest, and what of them can be written anew."""

from __future__ import annotations

from i2ikd.engine.checkpoint import load_weights, read_tensors
from i2ikd.engine.checksums import difference
from i2ikd.engine.run import RECORD, Run, write_run_record
from i2ikd.engine.run_folder import ORIGIN, RunFolder
from i2ikd.errors import UserError


def damaged_files(folder: RunFolder, digest: str) -> list[str]:
    """Compare the files of a finished run with its manifest.

    Args:
        folder: of the run.
        digest: of the run's specification.

    Returns:
        One text per file without weights that is damaged or missing.

    Raises:
        UserError: weights are damaged or missing, or belong to another run.
    """
    problems: list[str] = []
    stated = folder.stated()
    if not stated:
        actual = load_weights(folder.weights).digest
        for file in folder.path.glob("*.pt"):
            read_tensors(file)
        problems.append("manifest.json is missing, damaged or without checksums, and is written anew")
    else:
        actual = folder.digest or ""
    if actual != digest:
        raise UserError(
            f"{folder.path}: expected the run {digest[:16]}, got the run {actual[:16]}; put back the folder that "
            "belongs there, or delete it to train the run again"
        )
    for name in stated:
        problem = difference(folder.path / name, stated[name])
        if problem and name.endswith(".pt"):
            folder.verify(folder.path / name)  # raises
        if problem:
            outcome = "is written anew" if name in (RECORD, f"{ORIGIN}.json") else "is left out of figures"
            problems.append(f"{name} is damaged and {outcome}: {problem}")
    return problems


def repair(run: Run) -> None:
    """Write what can be derived of a finished run's damaged files: ``run.json`` and the manifest.

    Raises:
        UserError: the disk is full, or the folder is not writable.
    """
    folder, stated = run.folder, run.folder.stated()
    folder.checkpoint.unlink(missing_ok=True)  # of a process that was killed right after it had written the weights
    if stated and not difference(folder.path / RECORD, stated.get(RECORD)):
        return
    write_run_record(run)
    names = {RECORD, "history.json", *(path.name for path in folder.path.glob("*.pt"))} - {"checkpoint.pt"}
    names = {name for name in names if (folder.path / name).is_file()}
    kept = {name: record for name, record in stated.items() if name != RECORD}
    folder.state_files(run.specification.digest, sorted(names - kept.keys()), kept)
