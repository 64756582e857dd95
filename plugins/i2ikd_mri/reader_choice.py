"""Choice of the reader of a file: the one that an experiment names, or one by suffix and content."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import Any

from i2ikd import Registry, UserError
from i2ikd.errors import nearest
from i2ikd.source import Reader
from i2ikd_mri.readers import SUFFIXES, candidates, known_suffixes, refused_by_all, stem
from i2ikd_mri.readers.image import STACKED

_STACKED: dict[str, tuple[str, ...]] = {"image": tuple(STACKED), "dicom": SUFFIXES["dicom"]}


class ReaderChoice:
    """Readers of a dataset, each created once.

    Args:
        reader: name of a registered reader, or a table of its name and options; ``None``: selected by the suffix of a
            file and, where several readers have it, the first that can read the first such file.
        registry: contains the readers.
    """

    def __init__(self, reader: str | dict[str, Any] | None, registry: Registry) -> None:
        self.table = {"name": reader} if isinstance(reader, str) else reader
        self._registry = registry
        self._readers: dict[str, Reader] = {}

    @property
    def stacked(self) -> tuple[str, ...]:
        """Suffixes of files that are slices of one volume if they are in a folder of their own."""
        if self.table is None:
            return tuple(suffix for suffixes in _STACKED.values() for suffix in suffixes)
        return _STACKED.get(str(self.table.get("name")), ())

    @property
    def suffixes(self) -> tuple[str, ...]:
        """File name endings that can be read, in lower case; empty: any.

        Raises:
            UserError: the reader does not exist, or its options are wrong.
        """
        if self.table is None:
            known = known_suffixes(self._registry)
            return tuple(dict.fromkeys(suffix for suffixes in known.values() for suffix in suffixes))
        return tuple(getattr(self._named(self.table), "suffixes", ()))

    def of(self, path: Path) -> Reader:
        """Return the reader of a file, or of a folder of pictures or DICOM files.

        Args:
            path: the file or folder.

        Raises:
            UserError: the reader does not exist, its options are wrong, or no reader can read the file.
        """
        return self._fitting(path) if self.table is None else self._named(self.table)

    def of_new_data(self, path: Path) -> Reader:
        """Return the reader of one file of new data, whatever files of its suffix were opened before.

        Args:
            path: the file, or a folder of pictures or DICOM files.

        Raises:
            UserError: see ``of``.
        """
        if self.table is not None or path.is_dir():
            return self.of(path)
        return self._first_that_reads(candidates(path.name, self._registry), path)

    def _named(self, table: dict[str, Any]) -> Reader:
        name = table.get("name")
        if not isinstance(name, str):
            raise UserError(f"reader = {table}: the table has no name; set reader = {{ name = 'nifti', axis = 2 }}")
        if name not in self._readers:
            options = {key: value for key, value in table.items() if key != "name"}
            target = self._registry.get("reader", name).resolve()
            accepted = inspect.signature(target).parameters
            if "path" not in accepted:
                self._readers[name] = self._registry.create("reader", name, options)
            elif unknown := sorted(set(options) - set(accepted)):
                raise UserError(f"reader {name!r}: unknown option {unknown[0]!r}; {nearest(unknown[0], accepted)}")
            else:
                self._readers[name] = partial(target, **options)
        return self._readers[name]

    def _fitting(self, path: Path) -> Reader:
        """Select one reader for each suffix: of several, the first that can read this file."""
        if path.is_dir():
            series = any(file.name.lower().endswith(_STACKED["dicom"]) for file in path.iterdir())
            return self._named({"name": "dicom" if series else "image"})
        names = candidates(path.name, self._registry)
        suffix = path.name[len(stem(path.name, self._registry)) :].lower()
        if suffix not in self._readers:
            self._readers[suffix] = self._first_that_reads(names, path)
        return self._readers[suffix]

    def _first_that_reads(self, names: list[str], path: Path) -> Reader:
        readers = [self._named({"name": name}) for name in names]
        problems: dict[str, UserError] = {}
        for name, reader in zip(names, readers) if len(readers) > 1 else ():
            try:
                len(reader(path))
            except UserError as error:
                problems[name] = error
            else:
                return reader
        if problems:
            raise refused_by_all(path, problems)
        return readers[0]
