"""Choice of the reader of a file: the one that an experiment names, or one by suffix and content."""

from __future__ import annotations

import inspect
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from i2ikd import Registry, UserError
from i2ikd.errors import nearest
from i2ikd.source import Reader
from i2ikd_mri.readers import SUFFIXES, candidates, known_suffixes, refused_by_all, without_suffix
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
        self._fits: dict[str, str] = {}

    @cached_property
    def _endings(self) -> tuple[str, ...]:
        return tuple(suffix for suffixes in known_suffixes(self._registry).values() for suffix in suffixes)

    def stem(self, file_name: str) -> str:
        """Return a file name without its suffix, of any registered reader or after the last dot.

        Args:
            file_name: name of a file, without folders.
        """
        return without_suffix(file_name, self._endings)

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
            return tuple(dict.fromkeys(self._endings))
        return tuple(getattr(self.named(self.table), "suffixes", ()))

    def of(self, path: Path) -> Reader:
        """Return the reader of a file, or of a folder of pictures or DICOM files.

        Args:
            path: the file or folder.

        Raises:
            UserError: the reader does not exist, its options are wrong, or no reader can read the file.
        """
        return self.named(self.table_of(path))

    def table_of(self, path: Path) -> dict[str, Any]:
        """Return name and options of the reader of a file: of several for its suffix, the first that reads this file.

        Args:
            path: the file, or a folder of pictures or DICOM files.

        Raises:
            UserError: no reader can read the file.
        """
        if self.table is not None:
            return dict(self.table)
        if path.is_dir():
            series = any(file.name.lower().endswith(_STACKED["dicom"]) for file in path.iterdir())
            return {"name": "dicom" if series else "image"}
        suffix = path.name[len(self.stem(path.name)) :].lower()
        if suffix not in self._fits:
            self._fits[suffix] = self._first_that_reads(candidates(path.name, self._registry), path)
        return {"name": self._fits[suffix]}

    def table_of_new_data(self, path: Path) -> dict[str, Any]:
        """Return name and options of the reader of new data, whatever files of its suffix were opened before.

        Args:
            path: the file, or a folder of pictures or DICOM files.

        Raises:
            UserError: no reader can read the file.
        """
        if self.table is not None or path.is_dir():
            return self.table_of(path)
        return {"name": self._first_that_reads(candidates(path.name, self._registry), path)}

    def named(self, table: dict[str, Any]) -> Reader:
        """Return a reader.

        Args:
            table: its name and options.

        Raises:
            UserError: the reader does not exist, or its options are wrong.
        """
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

    def _first_that_reads(self, names: list[str], path: Path) -> str:
        readers = [self.named({"name": name}) for name in names]
        problems: dict[str, UserError] = {}
        for name, reader in zip(names, readers) if len(readers) > 1 else ():
            try:
                len(reader(path))
            except UserError as error:
                problems[name] = error
            else:
                return name
        if problems:
            raise refused_by_all(path, problems)
        return names[0]
