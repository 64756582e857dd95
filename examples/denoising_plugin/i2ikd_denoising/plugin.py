"""Hooks that register the components. Targets are strings, so that ``i2ikd --help`` and ``i2ikd list`` import none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import i2ikd

if TYPE_CHECKING:
    from i2ikd.hookspecs import Register


@i2ikd.hookimpl
def register_tasks(register: Register) -> None:
    """Register the task, with the experiments of ``i2ikd init`` and ``i2ikd demo``."""
    register(
        "denoising",
        "i2ikd_denoising.task:Denoising",
        summary="remove Gaussian noise of a known level from photographs",
        template="i2ikd_denoising:template.toml",
        demo="i2ikd_denoising:demo.toml",
    )


@i2ikd.hookimpl
def register_datasets(register: Register) -> None:
    """Register the dataset."""
    register(
        "photographs",
        "i2ikd_denoising.photographs:Photographs",
        summary="crops of the photographs in the wheel of scikit-image",
    )


@i2ikd.hookimpl
def register_readers(register: Register) -> None:
    """Register the file reader."""
    register(
        "photograph",
        "i2ikd_denoising.reader:PhotographReader",
        summary="a photograph as a grey image in 0..1",
        suffixes=".jpg .jpeg .webp .bmp .pgm .png",
    )


@i2ikd.hookimpl
def register_models(register: Register) -> None:
    """Register the network."""
    register(
        "denoising-cnn",
        "i2ikd_denoising.network:DenoisingCNN",
        summary="residual CNN with the noise level as an input",
        paper="DnCNN, arXiv:1608.03981; FFDNet, arXiv:1710.04026",
    )


@i2ikd.hookimpl
def register_pairs(register: Register) -> None:
    """Register the pairs of taps used when an experiment sets none."""
    register(
        "denoising-cnn",
        "i2ikd_denoising.pairs:middle",
        summary="the middle activation of each network",
        teacher="denoising-cnn",
        student="denoising-cnn",
        tap_kind="features",
    )


@i2ikd.hookimpl
def register_distillers(register: Register) -> None:
    """Register the distillation loss."""
    register(
        "edge-map",
        "i2ikd_denoising.edges:EdgeMaps",
        summary="edges in the features of both networks",
        formula="e(F) = |grad mean_c F|; mean |e_S / mean e_S - e_T / mean e_T|",
    )


@i2ikd.hookimpl
def register_metrics(register: Register) -> None:
    """Register the metric."""
    register(
        "gradient-psnr-slice-unit",
        "i2ikd_denoising.metric:GradientPsnr",
        summary="PSNR of the gradient of a slice; peak 1 (dB)",
    )


@i2ikd.hookimpl
def register_commands(register: Register) -> None:
    """Register the command."""
    register(
        "denoise-show",
        "i2ikd_denoising.command:show",
        summary="a photograph clean, noisy and denoised, side by side",
    )
