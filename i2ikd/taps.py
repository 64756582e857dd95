"""Features by module path: a tap is a forward hook; no network has to return its features."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from i2ikd.errors import UserError
from i2ikd.natural_order import natural_key


def _path_key(path: str) -> list[list[tuple[int, int, str]]]:
    """Sort key that compares paths component by component, ``cascades.9`` before ``cascades.10``."""
    return [natural_key(part) for part in path.split(".")]


def expand(network: nn.Module, pattern: str, side: str = "network") -> list[str]:
    """Return the module paths of ``network`` that ``pattern`` matches, in natural order.

    ``*`` stands for one path component or a part of one, as in ``cascades.*.layers.2``.

    Raises:
        UserError: nothing matches; the message lists paths that exist.

    >>> expand(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), "*")
    ['0', '1']
    """
    paths = [name for name, _ in network.named_modules() if name]
    wanted = pattern.split(".")
    found = [path for path in paths if _matches(path.split("."), wanted)]
    if found:
        return sorted(found, key=_path_key)
    near = difflib.get_close_matches(pattern, paths, n=4, cutoff=0.3) or paths[:8]
    raise UserError(
        f"tap path {pattern!r} matches no module of the {side} ({type(network).__name__}); "
        f"{len(paths)} modules exist, e.g. " + ", ".join(sorted(near, key=_path_key))
    )


def _matches(path: Sequence[str], wanted: Sequence[str]) -> bool:
    return len(path) == len(wanted) and all(
        re.fullmatch(fnmatch.translate(w), p) is not None for p, w in zip(path, wanted)
    )


def resolve_pairs(teacher: nn.Module, student: nn.Module, pairs: Iterable[Sequence[str]]) -> list[tuple[str, str]]:
    """Expand ``*`` on both sides and pair the taps in order.

    Raises:
        UserError: a path that matches nothing, or sides of unequal counts.
    """
    resolved: list[tuple[str, str]] = []
    for pair in pairs:
        if len(pair) != 2:
            raise UserError(f"a pair of taps is [teacher path, student path], not {list(pair)!r}")
        left, right = expand(teacher, pair[0], "teacher"), expand(student, pair[1], "student")
        if len(left) != len(right):
            raise UserError(
                f"the pair {list(pair)!r} matches {len(left)} taps of the teacher ({', '.join(left)}) "
                f"but {len(right)} of the student ({', '.join(right)})"
            )
        resolved += zip(left, right)
    return resolved


class Taps:
    """Captures what modules give out, while it is open; closing it leaves the network as it was.

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
        self._handles: list[RemovableHandle] = []
        modules = dict(network.named_modules())
        for path in dict.fromkeys(paths):
            if path not in modules:
                self.close()
                expand(network, path, side)
                raise UserError(f"{path!r} is a pattern, not one tap of the {side}; expand it first")
            self._handles.append(modules[path].register_forward_hook(self._keep(path)))

    def _keep(self, path: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise UserError(
                    f"the tap {path!r} of the {self._side} ({type(module).__name__}) gives a "
                    f"{type(output).__name__}, not a tensor; tap one of its submodules"
                )
            self._captured.setdefault(path, []).append(output)

        return hook

    def take(self, paths: Sequence[str]) -> list[Tensor]:
        """Return what the paths gave since ``clear``, in order; a module that ran n times gives n features.

        Raises:
            UserError: a tap that never fired.
        """
        features: list[Tensor] = []
        for path in paths:
            if path not in self._captured:
                raise UserError(
                    f"the tap {path!r} of the {self._side} never fired: the module exists, but its forward "
                    "was not called (a network that calls a module's function directly bypasses it)"
                )
            features += self._captured[path]
        return features

    def clear(self) -> None:
        """Forget what was captured, so that the next forward pass starts afresh."""
        self._captured.clear()

    def close(self) -> None:
        """Remove the hooks."""
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
