"""Every registered method passes the conformance checks of distillers."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from i2ikd_distillers import plugin

from i2ikd.components import get
from i2ikd.testing import check_distiller, check_plugin

BORDERS = {"exact_at_teacher": False, "enlarge_tolerance": 0.25}
"""Of methods with 3x3 convolutions that start at random: they see the border of an image."""

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("frequency", {"bands": "haar"}, {}),
    ("frequency", {"bands": "laplacian"}, {"enlarge_tolerance": 0.1}),
    ("frequency", {"bands": "lines"}, {"enlarge": None}),
    ("contrastive", {"steps": 3}, {"reaches": "output", "enlarge_tolerance": 0.05}),
    ("contrastive", {"steps": 3, "negatives": "own"}, {"reaches": "output", "enlarge_tolerance": 0.05}),
    ("cascade", {}, {"channels": (1, 1)}),
    ("statistics", {}, {}),
    ("channel-wise", {}, {}),
    ("pearson", {"scope": "batch"}, {}),
    ("pearson", {"scope": "sample"}, {}),
    ("fsp", {}, {"pairs": 2}),
    ("nst", {}, {}),
    ("affinity", {"norm": "frobenius"}, {}),
    ("affinity", {"norm": "l1", "size": 4}, {"enlarge": "repeat"}),
    ("channel-similarity", {}, {}),
    ("fitnet", {}, {}),
    ("vid", {}, {}),
    ("vid", {"scale": "pixel", "distribution": "laplace"}, {}),
    ("srd", {}, {}),
    ("overhaul", {}, {}),
    ("activation-boundary", {}, {"exact_at_teacher": False}),
    ("review", {}, {**BORDERS, "pairs": 2}),
    ("generation", {}, BORDERS),
    ("factor", {"steps": 3}, BORDERS),
    ("pkt", {"mode": "code", "count": 48}, {"enlarge": "repeat"}),
    ("cka", {"centred": True, "count": 48}, {"enlarge": "repeat"}),
]
for name in ("cka", "similarity-preserving", "correlation-congruence", "pkt", "rkd"):
    fewer: dict[str, Any] = {"angles": 16} if name == "rkd" else {}
    CASES += [
        (name, {"samples": "pixel", "count": 48, **fewer}, {"enlarge": "repeat"}),
        (name, {"samples": "patch", "count": 48, **fewer}, {"enlarge": "repeat"}),
        (name, {"samples": "batch"}, {"enlarge_tolerance": 1e-3}),
    ]


@pytest.mark.parametrize(("name", "options", "facts"), CASES, ids=lambda v: v if isinstance(v, str) else None)
def test_a_method_passes_the_conformance_checks(name: str, options: dict[str, Any], facts: dict[str, Any]) -> None:
    """Float32 at real sizes is checked in test_precision."""
    target = get("distiller", name)
    check_distiller(lambda: target(**options), precision_sizes=(), **{"pairs": 1, **facts})


def test_every_registered_method_is_checked() -> None:
    assert {name for name, _, _ in CASES} == set(plugin._METHODS)


def test_the_plugin_registers_and_every_target_resolves() -> None:
    check_plugin(plugin)


@pytest.mark.parametrize("name", sorted(plugin._METHODS))
def test_a_method_documents_paper_formula_needs_and_deviation(name: str) -> None:
    text = get("distiller", name).__doc__
    for words in ("Paper", "Formula:", "Needs:"):
        assert words in text
    assert "Differs from" in text or name == "cascade"


def test_importing_the_plugin_imports_no_torch() -> None:
    code = "import i2ikd_distillers.plugin, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
