"""The commands behind the table: parts of a step, memory at its peak, operators of an inference."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from benchmarks import drift, memory, nifti, operators, parts


def printed(command: object, *words: str) -> str:
    result = CliRunner().invoke(command, words, env={"COLUMNS": "200"}, catch_exceptions=False)  # type: ignore[arg-type]
    assert result.exit_code == 0
    return result.output


def number_of(row: str, text: str) -> float:
    (line,) = [line for line in text.splitlines() if row in line]
    return float(re.findall(r"[\d.]+", line)[-1])


def test_parts_are_timed_in_both_memory_formats_and_as_thin_convolution() -> None:
    text = printed(parts.main, "--size", "16", "--rounds", "1")
    assert text.count("ThinConvolution: ") == 6
    assert text.count("32 to 32, channels-last") == text.count("32 to 32, contiguous") == 3
    assert number_of("32 to 32, contiguous, Conv2d: forward", text) > 0


@pytest.mark.parametrize("words", [(), ("--stage", "features", "--live")])
def test_memory_contains_the_features_of_all_cascades(words: tuple[str, ...]) -> None:
    """D5C3 keeps its second features: 5 maps of 4 x 32 x 96 x 96 floats, 4.5 MiB each."""
    text = printed(memory.main, "--size", "96", *words)
    assert number_of("│ all", text) >= 5 * 4.5
    assert "4 x 32 x 96 x 96" in text


def test_operators_of_an_inference_are_listed() -> None:
    text = printed(operators.main, "--size", "32", "--rounds", "1")
    assert "student: " in text and "teacher: " in text
    assert re.search(r"mkldnn_convolution +│ 1 x 32 x 32 x 32, 32 x 32 x 3 x 3 +│ 5 ", text), "the student's five"
    assert re.search(r"mkldnn_convolution +│ 1 x 32 x 32 x 32, 32 x 32 x 3 x 3 +│ 15 ", text), "the teacher's"


def test_operators_of_a_step_include_its_backward_pass() -> None:
    text = printed(operators.main, "--size", "32", "--rounds", "2", "--training")
    assert re.search(r"convolution_backward +│ 4 x 32 x 32 x 32.* +│ 5 ", text), "the student's five"


def test_a_first_pass_is_compared_with_decompression_alone() -> None:
    text = printed(nifti.main, "--size", "32", "--slices", "4", "--rounds", "1")
    assert text.count("gzip.decompress") == text.count("reader nifti, all slices") == 2
    assert number_of("float32 │ reader nifti, all slices", text) > 0


def test_weights_changed_in_the_last_bit_change_the_losses_in_the_last_bits() -> None:
    plain, changed = (drift.plain_losses(drift.SMALL, last_bit=flag) for flag in (False, True))
    assert len(plain) == len(changed) == drift.STEPS
    assert plain != changed
    assert changed[0] == pytest.approx(plain[0], rel=1e-6)
