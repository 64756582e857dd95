"""What ``precision = "auto"`` is on a CPU: decided by its instructions, whatever else the machine computes."""

from __future__ import annotations

import pytest
import torch

from i2ikd.engine.device import bfloat16_instructions
from i2ikd.engine.precision import resolve_precision


def test_auto_on_a_cpu_is_decided_by_its_instructions() -> None:
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    if "avx512_bf16" not in capabilities:
        pytest.skip("torch does not state the CPU's instructions")
    expected = capabilities["avx512_bf16"] or capabilities["amx_bf16"]
    allowed = torch.backends.cpu.get_cpu_capability() == "AVX512"
    assert resolve_precision("auto", torch.device("cpu")) == ("bf16" if expected and allowed else "fp32")


@pytest.mark.parametrize("capability", ["AVX2", "DEFAULT"])
def test_auto_is_float32_where_torch_may_not_use_avx512(capability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bfloat16_instructions.cache_clear()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert resolve_precision("auto", torch.device("cpu")) == "fp32"
    bfloat16_instructions.cache_clear()
