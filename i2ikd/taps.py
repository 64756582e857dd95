"""Taps: forward hooks that capture the outputs of modules, addressed by module path."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from i2ikd.errors import UserError
from i2ikd.natural_order import natural_key
from i2ikd.tap_layout import Layout, split_layout
from i2ikd.wrapping import unwrapped


def _path_key(path: str) -> list[list[tuple[int, int, str]]]:
    """Sort key that compares paths component by component, ``cascades.9`` before ``cascades.10``."""
    return [natural_key(part) for part in path.split(".")]


def expand(network: nn.Module, pattern: str, side: str = "network") -> list[str]:
    """Return the module paths of ``network`` that match ``pattern``, in natural order.

    Args:
        network: the network.
        pattern: a module path, in which ``*`` matches one component or a part of one: ``cascades.*.layers.2``.
        side: ``teacher`` or ``student``, for the message.

    Raises:
        UserError: no module matches; the message lists existing paths.

    >>> expand(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), "*")
    ['0', '1']
    """
    network = unwrapped(network)
    paths = [name for name, _ in network.named_modules() if name]
    components = pattern.split(".")
    matches = [path for path in paths if _matches(path.split("."), components)]
    if matches:
        return sorted(matches, key=_path_key)
    near = difflib.get_close_matches(pattern, paths, n=4, cutoff=0.3) or paths[:8]
    raise UserError(
        f"tap path {pattern!r} matches no module of the {side} ({type(network).__name__}); "
        f"{len(paths)} modules exist, e.g. " + ", ".join(sorted(near, key=_path_key))
    )


def _matches(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether every component of a path matches that of the pattern."""
    return len(path) == len(pattern) and all(
        re.fullmatch(fnmatch.translate(wildcard), component) is not None for component, wildcard in zip(path, pattern)
    )


RANGE = ".."
"""Between two module paths: the block of consecutive modules from the first to the last, ``layers.1..layers.3``."""


def expand_blocks(network: nn.Module, pattern: str, side: str = "network") -> list[str]:
    """Return the blocks of ``network`` that match ``pattern``: modules, or ranges ``first..last`` of modules.

    Args:
        network: the network.
        pattern: a module path, or two of them with ``..`` between; each may contain ``*``.
        side: ``teacher`` or ``student``, for the message.

    Raises:
        UserError: no module matches, or the two ends of a range match unequal numbers of modules.

    >>> expand_blocks(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), "0..1")
    ['0..1']
    """
    first, separator, last = pattern.partition(RANGE)
    if not separator:
        return expand(network, pattern, side)
    starts, ends = expand(network, first, side), expand(network, last, side)
    if len(starts) != len(ends):
        raise UserError(
            f"the block {pattern!r} of the {side}: expected two ends that match equally many modules, got "
            f"{len(starts)} and {len(ends)}"
        )
    return [f"{start}{RANGE}{end}" for start, end in zip(starts, ends)]


def resolve_pairs(
    teacher: nn.Module,
    student: nn.Module,
    pairs: Iterable[Sequence[str]],
    matching: Callable[[nn.Module, str, str], list[str]] = expand,
) -> list[tuple[str, str]]:
    """Expand ``*`` on both sides and pair the taps in order.

    Args:
        teacher: the teacher.
        student: the student.
        pairs: [teacher path, student path] each.
        matching: returns what a pattern matches: ``expand``, or ``expand_blocks`` where ranges of modules are allowed.

    Returns:
        (teacher path, student path) of every pair, without ``*``.

    Raises:
        UserError: a path that matches no module, or a pair that matches unequal numbers of taps.
    """
    resolved: list[tuple[str, str]] = []
    for pair in pairs:
        if len(pair) != 2:
            raise UserError(f"a pair of taps is [teacher path, student path], not {list(pair)!r}")
        left, right = matching(teacher, pair[0], "teacher"), matching(student, pair[1], "student")
        if len(left) != len(right):
            raise UserError(
                f"the pair {list(pair)!r} matches {len(left)} taps of the teacher ({', '.join(left)}) "
                f"but {len(right)} of the student ({', '.join(right)}); pair paths that match equally many"
            )
        resolved += zip(left, right)
    return resolved


INPUT = ":input"
"""Ending of a tap's path that captures the first positional argument of the module instead of its output."""


def expand_taps(network: nn.Module, pattern: str, side: str = "network") -> list[str]:
    """Return the taps of ``network`` that match ``pattern``: module paths, with the endings of the pattern.

    Args:
        network: the network.
        pattern: a module path, which may contain ``*`` and end in ``:input`` and in a layout (``tap_layout``).
        side: ``teacher`` or ``student``, for the message.

    Raises:
        UserError: no module matches.

    >>> expand_taps(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), "*:input:nhwc")
    ['0:input:nhwc', '1:input:nhwc']
    """
    module = split_layout(pattern)[0].removesuffix(INPUT)
    return [path + pattern[len(module) :] for path in expand(network, module, side)]


class Taps:
    """Captures outputs and inputs of modules by hooks, which ``close`` removes; a context manager.

    A path that ends in ``:input`` (``cascades.2:input``) captures the module's first positional argument. One that ends
    in ``:nhwc``, ``:tokens`` or ``:tokens-1`` states the layout of the feature, which is converted to [B, C, H, W].

    Args:
        network: the network.
        paths: of its modules, without ``*``.
        side: ``teacher`` or ``student``, for messages.

    Raises:
        UserError: a path that the network lacks.

    >>> import torch
    >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    >>> with Taps(network, ["1"]) as taps:
    ...     _ = network(torch.zeros(1, 1, 8, 8))
    ...     [tuple(t.shape) for t in taps.take(["1"])]
    [(1, 4, 6, 6)]
    """

    def __init__(self, network: nn.Module, paths: Iterable[str], side: str = "network") -> None:
        self._side = side
        self._captured: dict[str, list[Tensor]] = {}
        self._versions: dict[str, list[int]] = {}
        self._handles: list[RemovableHandle] = []
        self._image: tuple[int, int] | None = None
        self._count, self._stop_at = 0, 0
        inner = unwrapped(network)
        modules = dict(inner.named_modules())
        stated = list(dict.fromkeys(paths))
        self._layouts = {path: layout for path in stated if (layout := split_layout(path)[1]) is not None}
        if self._layouts:
            self._handles.append(inner.register_forward_pre_hook(self._image_hook))
        for path in stated:
            whole = split_layout(path)[0]
            module = whole.removesuffix(INPUT)
            if module not in modules:
                self.close()
                expand(network, module, side)
                raise UserError(f"{path!r} is a pattern, not one tap of the {side}; expand it first")
            if module != whole:
                self._handles.append(modules[module].register_forward_pre_hook(self._input_hook(path)))
            else:
                self._handles.append(modules[module].register_forward_hook(self._hook(path)))

    def _image_hook(self, module: nn.Module, inputs: Any) -> None:
        """Store the size of the network input, of which maps of tokens have the aspect ratio."""
        if inputs and isinstance(inputs[0], Tensor) and inputs[0].ndim == 4:
            self._image = (inputs[0].shape[-2], inputs[0].shape[-1])

    def _input_hook(self, path: str) -> Any:
        """Return the forward pre-hook that captures the first positional argument of a module."""

        def hook(module: nn.Module, inputs: Any) -> None:
            if not inputs or not isinstance(inputs[0], Tensor):
                found = type(inputs[0]).__name__ if inputs else "no positional argument"
                raise UserError(
                    f"the tap {path!r} of the {self._side} ({type(module).__name__}): expected a tensor as the first "
                    f"positional argument, got {found}; tap another module"
                )
            self._capture(path, inputs[0])

        return hook

    def _hook(self, path: str) -> Any:
        """Return the forward hook that captures the output of a path."""

        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise UserError(
                    f"the tap {path!r} of the {self._side} ({type(module).__name__}) returns a "
                    f"{type(output).__name__}, not a tensor; tap one of its submodules"
                )
            self._capture(path, output)

        return hook

    def _capture(self, path: str, feature: Tensor) -> None:
        """Store a feature as [B, C, H, W], with the number of times it was changed in place."""
        layout: Layout | None = self._layouts.get(path)
        if layout is not None:
            where = f"the tap {path!r} of the {self._side}"
            if self._image is None:
                raise UserError(f"{where}: expected the whole network to be called, got a call of a part of it")
            feature = layout.to_channels_first(feature, self._image, where)
        self._captured.setdefault(path, []).append(feature)
        self._versions.setdefault(path, []).append(_version(feature))
        if self._stop_at and self._captured_number() == self._stop_at:
            raise _Complete

    def _captured_number(self) -> int:
        return sum(map(len, self._captured.values()))

    def run_to_last(self, call: Callable[[], object]) -> None:
        """Call the network and end the call after the last tap.

        The first call runs to the end and counts the captured features; networks call tapped modules equally often for
        every batch, as the pairs of taps require.

        Args:
            call: calls the network; the value that it returns is not used.
        """
        self.clear()
        self._stop_at = self._count
        try:
            call()
            self._count = self._captured_number()
        except _Complete:
            pass
        finally:
            self._stop_at = 0

    def _refuse_overwritten(self, path: str) -> None:
        """Check that no later module has changed a feature in place."""
        if any(_version(f) != version for f, version in zip(self._captured[path], self._versions[path])):
            raise UserError(
                f"the tap {path!r} of the {self._side} was overwritten in place by a later operation, such as "
                "ReLU(inplace=True) or +=; tap the module that overwrites it, or set inplace=False there"
            )

    def take(self, paths: Sequence[str], overwritten: bool = False) -> list[Tensor]:
        """Return the outputs captured since ``clear``.

        Args:
            paths: of the taps.
            overwritten: whether features that a later operation has overwritten in place are returned too.

        Returns:
            Features in the order of the paths; a module that was called n times contributes n.

        Raises:
            UserError: a tap whose module was not called, or whose feature was overwritten in place.
        """
        features: list[Tensor] = []
        for path in paths:
            if path not in self._captured:
                raise UserError(
                    f"the tap {path!r} of the {self._side} never fired: the module exists, but its forward "
                    "was not called (a network that calls a module's function directly bypasses it)"
                )
            if not overwritten:
                self._refuse_overwritten(path)
            features += self._captured[path]
        return features

    def clear(self) -> None:
        """Drop the captured features."""
        self._captured.clear()
        self._versions.clear()

    def close(self) -> None:
        """Remove the hooks and drop the captured features."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._captured.clear()

    def __enter__(self) -> Taps:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Complete(BaseException):
    """Ends a call of a network whose taps are complete; no ``Exception``, which a network may catch."""


def _version(feature: Tensor) -> int:
    """Return how often a tensor was changed in place; 0 for those of ``torch.inference_mode``, which do not count."""
    return 0 if feature.is_inference() else feature._version
