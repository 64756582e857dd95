"""What this package registers. Targets are texts, so that ``i2ikd --help`` and ``i2ikd list`` import none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import i2ikd

if TYPE_CHECKING:
    from i2ikd.hookspecs import Register


@i2ikd.hookimpl
def register_tasks(register: Register) -> None:
    """The task, with the experiments for ``i2ikd init`` and ``i2ikd demo``."""
    register(
        "denoising",
        "i2ikd_denoising.task:Denoising",
        summary="remove Gaussian noise of a known level from photographs",
        template="i2ikd_denoising:template.toml",
        demo="i2ikd_denoising:demo.toml",
    )


@i2ikd.hookimpl
def register_datasets(register: Register) -> None:
    """Where photographs come from."""
    register(
        "photographs",
        "i2ikd_denoising.photographs:Photographs",
        summary="crops of the photographs that scikit-image ships",
    )


@i2ikd.hookimpl
def register_readers(register: Register) -> None:
    """The files of a new photograph."""
    register(
        "photograph",
        "i2ikd_denoising.reader:PhotographReader",
        summary="a photograph as a grey image in 0..1",
        suffixes=".jpg .jpeg .webp .bmp .pgm .png",
    )


@i2ikd.hookimpl
def register_models(register: Register) -> None:
    """The network."""
    register(
        "denoising-cnn",
        "i2ikd_denoising.network:DenoisingCNN",
        summary="convolutions with a residual that are told the noise level",
        paper="DnCNN, arXiv:1608.03981; FFDNet, arXiv:1710.04026",
    )


@i2ikd.hookimpl
def register_pairs(register: Register) -> None:
    """The taps that are compared when an experiment names none."""
    register(
        "denoising-cnn",
        "i2ikd_denoising.pairs:middle",
        summary="the middle activation of each",
        teacher="denoising-cnn",
        student="denoising-cnn",
        tap_kind="features",
    )


@i2ikd.hookimpl
def register_distillers(register: Register) -> None:
    """The distillation loss."""
    register(
        "edge-map",
        "i2ikd_denoising.edges:EdgeMaps",
        summary="where the edges are in the features",
        formula="e(F) = |grad mean_c F|; mean |e_S / mean e_S - e_T / mean e_T|",
    )


@i2ikd.hookimpl
def register_metrics(register: Register) -> None:
    """The metric."""
    register(
        "gradient-psnr-slice-unit",
        "i2ikd_denoising.metric:GradientPsnr",
        summary="PSNR of the gradient of a slice; peak 1 (dB)",
    )


@i2ikd.hookimpl
def register_commands(register: Register) -> None:
    """The command."""
    register(
        "denoise-show",
        "i2ikd_denoising.command:show",
        summary="a photograph clean, noisy and denoised, side by side",
    )
