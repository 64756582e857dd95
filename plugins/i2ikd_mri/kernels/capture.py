"""Detection of graph capture, during which plain operators take the place of tuned ones."""

from __future__ import annotations

import torch


def is_captured() -> bool:
    """Whether a graph is being captured: ``torch.compile``, ``torch.export``, ``torch.jit.trace`` or ONNX export.

    A function with a gradient formula of its own is one opaque operation for ``torch.jit.trace`` and the ONNX exporter
    that is built on it: its content would be missing from the file, without an error.
    """
    return torch.compiler.is_compiling() or torch.jit.is_tracing()
