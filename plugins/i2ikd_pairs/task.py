"""Task ``pairs``: images and their targets from two folders, a table, or an HDF5 file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from i2ikd import Batch, BoundedCache, FileSummary, Inventory, SampleDataset, SplitInventory, Task, UserError
from i2ikd.file_facts import FileFacts
from i2ikd.reading_progress import reading
from i2ikd.split_names import SPLITS, Split
from i2ikd_pairs.digests import digests_of
from i2ikd_pairs.division import UNLABELLED, DataOptions, divided
from i2ikd_pairs.formats.files import FORMATS, format_of, read_file, suffix_of
from i2ikd_pairs.formats.stack import AXES
from i2ikd_pairs.forms import Expected, Form, check_input, check_pair, colours
from i2ikd_pairs.pair import Listing
from i2ikd_pairs.proposal import proposal_of
from i2ikd_pairs.samples import AUGMENTATIONS, Crop, FileSamples, PairSamples
from i2ikd_pairs.values import from_unit

_WITHOUT_CROP = "test"


class Pairs(Task):
    """Images with targets: denoising, deblurring, super-resolution, low-dose CT, microscopy.

    Values of a file are mapped to 0..1: by ``value_range``, or integers without sign by the range of their type.

    Args:
        root: folder with the folders ``input`` and ``target`` (with or without folders of splits), CSV file with these
            columns, or HDF5 file with these data sets.
        input: name of the folder, column or data set of the inputs.
        target: name of the folder, column or data set of the targets.
        channels: of an input: 1 grey, 3 RGB, or any other number.
        target_channels: of a target; as many as the input has unless given.
        scale: size of a target over that of its input.
        value_range: (lowest, highest) value of the data, which are 0 and 1 for the network.
        axes: names of the axes of arrays in order, such as "slices height width channels".
        patch: (height, width) of the input of training samples, drawn at random; in validation it is the centre.
        patches: number of patches of each slice in an epoch.
        splits: names of the folders of each split; an empty table: there are none.
        fractions: shares of the subjects for train, val and test, where no splits are stated.
        subject: regular expression that matches the subject in the name of a pair.
        repeated_names: whether subjects of one name in two splits are refused or distinct.
        unlabelled: whether training inputs without a target are used, as the split ``unlabelled``.
        loss: ``l1`` (mean absolute difference) or ``mse`` (mean squared difference).
        memory_mib: limit of the files cached in memory, in MiB.

    Raises:
        UserError: options that contradict each other.
    """

    augmentations: ClassVar[frozenset[str]] = AUGMENTATIONS
    columns: ClassVar[Mapping[str, str]] = {
        "psnr": "psnr-slice-unit",
        "ssim": "ssim-slice-unit",
        "nmse": "nmse-slice",
        "hfn": "hfn-slice",
    }
    tileable: ClassVar[bool] = True

    def __init__(
        self,
        root: Path,
        input: str = "input",
        target: str = "target",
        channels: PositiveInt = 1,
        target_channels: PositiveInt | None = None,
        scale: PositiveInt = 1,
        value_range: tuple[float, float] | None = None,
        axes: str | None = None,
        patch: tuple[PositiveInt, PositiveInt] | None = None,
        patches: PositiveInt = 1,
        splits: dict[Split, list[str]] | None = None,
        fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
        subject: str | None = None,
        repeated_names: Literal["refuse", "distinct"] = "refuse",
        unlabelled: bool = False,
        loss: Literal["l1", "mse"] = "l1",
        memory_mib: Annotated[float, Field(ge=0)] = 2048,
    ) -> None:
        if value_range is not None and not (np.isfinite(value_range).all() and value_range[0] < value_range[1]):
            raise UserError(f"pairs: value_range: expected [lowest, highest], got {list(value_range)}")
        if patches > 1 and patch is None:
            raise UserError(f"pairs: patches = {patches} needs the option patch, the size of one; set patch = [H, W]")
        self._options = DataOptions(root, (input, target), splits, fractions, subject, repeated_names, unlabelled)
        self._expected = Expected(
            channels, target_channels or channels, scale, value_range, None if axes is None else _axes(axes)
        )
        self._patch, self._patches, self.criterion = patch, patches, loss
        self._memory = BoundedCache[Any](memory_mib, policy="refuse")
        self._forms: dict[str, list[Form]] = {}

    @classmethod
    def propose(cls, folder: Path, size: tuple[int, int] | None = None) -> Mapping[str, tuple[Any, str]] | None:
        """Return channels, patch and range of values of the first training pair; see ``Task.propose``.

        Args:
            folder: folder with ``input`` and ``target``, in it or in folders of splits; CSV or HDF5 file.
            size: unused: pairs are cut into patches.

        Raises:
            UserError: pairs that are missing or ambiguous.
        """
        return proposal_of(folder)

    @cached_property
    def _listing(self) -> Listing:
        return divided(self._options)

    @cached_property
    def _facts(self) -> FileFacts:
        return FileFacts(self._options.root)

    @cached_property
    def _digests(self) -> dict[str, str]:
        return digests_of(self._listing.splits, self._facts, self._options.root)

    def dataset(self, split: str, augmentations: Sequence[str] = ()) -> SampleDataset:
        """Return the samples of a split; all of its files are checked.

        Args:
            split: ``train``, ``val`` or ``test``; or ``unlabelled``, whose samples have no target.
            augmentations: names of ``AUGMENTATIONS``.

        Raises:
            UserError: an unknown split or augmentation, or data that is missing, ambiguous or of another form.
        """
        if unknown := sorted(set(augmentations) - AUGMENTATIONS):
            raise UserError(
                f"pairs: unknown augmentation {unknown[0]!r}; choose from {', '.join(sorted(AUGMENTATIONS))}"
            )
        if split not in (*SPLITS, UNLABELLED):
            raise UserError(f"pairs: expected a split among {', '.join(SPLITS)}, got {split!r}")
        if split == UNLABELLED and UNLABELLED not in self._listing.splits:
            raise UserError(
                "pairs: expected training inputs without a target, got none; add them, and set task.unlabelled = true"
            )
        pairs = self._listing.splits[split]
        return PairSamples(pairs, self._checked(split), self._expected, self._crop(split), augmentations, self._memory)

    def _crop(self, split: str) -> Crop:
        if self._patch is None or split == _WITHOUT_CROP:
            return Crop()
        return Crop(self._patch) if split == "val" else Crop(self._patch, self._patches, random=True)

    def _checked(self, split: str) -> list[Form]:
        """Return the forms of the inputs of a split, after the checks of its pairs."""
        if split not in self._forms:
            pairs = reading(self._listing.splits[split], "pair")
            self._forms[split] = [check_pair(pair, self._expected, self._facts) for pair in pairs]
        return self._forms[split]

    def network_options(self) -> dict[str, Any]:
        """Return the numbers of channels, for networks with these arguments."""
        return {"in_channels": self._expected.channels, "out_channels": self._expected.target_channels}

    def identity(self) -> dict[str, Any]:
        """Return options and the digests of all training and validation files; part of the digest of a run."""
        expected = self._expected
        return {
            "task": "pairs",
            "channels": [expected.channels, expected.target_channels],
            "scale": expected.scale,
            "value_range": None if expected.value_range is None else list(expected.value_range),
            "axes": None if expected.axes is None else list(expected.axes),
            "patch": None if self._patch is None else [*self._patch, self._patches],
            "loss": self.criterion,
            "files": {split: digest for split, digest in self._digests.items() if split != "test"},
        }

    def test_identity(self) -> dict[str, Any]:
        """Return the digest of the test files."""
        return {"files": self._digests["test"]}

    def inventory(self) -> Inventory:
        """Return what the data holds; every file is read once for its content.

        Raises:
            UserError: data is missing, ambiguous or of another form.
        """
        listing = self._listing
        formats = Counter(
            suffix_of(part.path) or part.path.suffix
            for pairs in listing.splits.values()
            for pair in pairs
            for part in (pair.input, pair.target)
            if part is not None
        )
        self._digests  # noqa: B018  # refuses files that are in two splits
        splits = [self._split_inventory(split) for split in SPLITS]
        return Inventory(splits, FileSummary(dict(formats), listing.division, listing.passed_over))

    def _split_inventory(self, split: str) -> SplitInventory:
        forms, keys = self._checked(split), self.dataset(split).keys
        crop = self._crop(split)
        sizes = Counter(
            f"{form.height} x {form.width}" if crop.size is None else f"{crop.size[0]} x {crop.size[1]} (patches)"
            for form in forms
        )
        return SplitInventory(
            split=split,
            subjects=len({key.subject for key in keys}),
            volumes=len(forms),
            slices=len(keys),
            sizes=dict(sizes),
            types={colours(self._expected.channels): len(forms)},
            low=min(form.low for form in forms),
            high=max(form.high for form in forms),
            inspected=len(forms),
        )

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Compute the mean absolute (``l1``) or mean squared (``mse``) difference, a scalar.

        Args:
            output: [B, C, H, W].
            target: [B, C, H, W].
        """
        return F.l1_loss(output, target) if self.criterion == "l1" else F.mse_loss(output, target)

    def baseline(self, batch: Batch) -> dict[str, Tensor]:
        """Return the input, or its bicubic enlargement; nothing if targets have other channels than inputs."""
        if self._expected.channels != self._expected.target_channels:
            return {}
        if self._expected.scale == 1:
            return {"input": batch.input}
        scale = float(self._expected.scale)
        return {"bicubic": F.interpolate(batch.input, scale_factor=scale, mode="bicubic", align_corners=False)}

    def to_display(self, image: Tensor) -> np.ndarray:
        """Return the image [H, W] of one channel, or all channels [C, H, W]: colours stay colours."""
        values = image.detach().float().cpu().numpy()
        return values[0] if len(values) == 1 else values

    def describe(self) -> dict[str, str]:
        """Return channels, scale and size of the first test image, for the head of a table."""
        form = self._checked("test")[0]
        described = {"images": colours(self._expected.channels), "size": f"{form.height} x {form.width}"}
        return {**described, "scale": str(self._expected.scale)} if self._expected.scale > 1 else described

    def reads(self, path: Path, suffixes: Sequence[str]) -> bool:
        """Return whether a path is a file of a supported format.

        Args:
            path: file or folder.
            suffixes: unused; the formats of this task count.
        """
        return path.is_file() and suffix_of(path) is not None

    def sample_from_file(self, path: Path, simulate: bool = False) -> SampleDataset:
        """Open an input for ``i2ikd infer``.

        Args:
            path: the file.
            simulate: must be ``False``: nothing of a pair is simulated.

        Raises:
            UserError: it cannot be read, or has another number of channels or range of values.
        """
        if simulate:
            raise UserError(f"{path}: inputs of the task pairs are read, not simulated; omit --simulate")
        stack = read_file(path, self._expected.axes)
        check_input(Form.of(stack), self._expected, str(path))
        return FileSamples(stack, path.name, self._expected)

    def result_name(self, source: Path) -> str:
        """Return the name of the source; JPEG, which is not written, becomes PNG."""
        suffix = suffix_of(source) or ""
        return f"{source.name[: -len(suffix)]}.png" if suffix in (".jpg", ".jpeg") else source.name

    def check_output(self, path: Path, source: Path, slices: int | None = None) -> None:
        """Check that the format of a result is written; see ``Task.check_output``.

        Raises:
            UserError: it is not.
        """
        if format_of(path).write is None:
            written = " ".join(suffix for suffix, form in FORMATS.items() if form.write is not None)
            raise UserError(f"{path}: expected a suffix of {written} for a result; JPEG would change its values")

    def write(
        self, outputs: Sequence[Tensor], source: Path, path: Path, scale: Literal["source", "unit"] = "source"
    ) -> None:
        """Write outputs in the format of the suffix.

        Args:
            outputs: [C, H, W] for each slice.
            source: the input, whose type, units and axes the result has.
            path: the result.
            scale: ``source``: values in units and type of the input; ``unit``: float32 of the network.

        Raises:
            UserError: the format does not hold such values.
        """
        stack = read_file(source, self._expected.axes)
        values = torch.stack([output.detach().float().cpu() for output in outputs]).numpy()
        if scale == "source":
            values = from_unit(values, stack.values.dtype, self._expected.value_range)
        write = format_of(path).write
        assert write is not None, "check_output refuses such a path"
        write(values, stack, path)


def _axes(text: str) -> tuple[str, ...]:
    names = tuple(text.split())
    if len(set(names)) < len(names) or not {"height", "width"} <= set(names) <= set(AXES):
        raise UserError(
            f"pairs: axes: expected names among {', '.join(AXES)}, height and width among them, each once, got {text!r}"
        )
    return names
