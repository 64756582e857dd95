"""Command ``i2ikd denoise-show``: a photograph clean, noisy, and denoised by a trained network."""

from __future__ import annotations

from pathlib import Path

import click

from i2ikd import UserError


@click.command("denoise-show")
@click.argument("photograph", default="camera")
@click.option("--run", type=click.Path(path_type=Path), metavar="RUN", help="A trained network's folder.")
@click.option("--noise", type=click.FloatRange(min=0, max=1), default=0.1, show_default=True, help="Where white is 1.")
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="FILE", help="A PNG or JPEG file.")
def show(photograph: str, run: Path | None, noise: float, output: Path) -> None:
    """Write PHOTOGRAPH (camera) clean, noisy and, with --run, denoised, side by side."""
    import numpy as np
    import torch
    from PIL import Image

    import i2ikd
    from i2ikd_denoising.photographs import SPLITS, shipped

    files = {file.partition(".")[0]: file for split in SPLITS.values() for file in split}
    if photograph not in files:
        raise UserError(f"unknown photograph {photograph!r}; choose from {', '.join(sorted(files))}")
    if output.exists():
        raise UserError(f"{output} exists; choose another file")
    clean = torch.from_numpy(shipped(files[photograph]))[None, None]
    noisy = clean + noise * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    panels = [clean, noisy]
    if run is not None:
        with torch.inference_mode():
            panels.append(i2ikd.load(run)(noisy, noise_level=torch.full_like(noisy, noise)))
    row = torch.cat(panels, dim=3)[0, 0].clamp(0, 1).numpy()
    try:
        Image.fromarray(np.round(row * 255).astype(np.uint8)).save(output)
    except (OSError, ValueError) as error:
        raise UserError(f"{output}: cannot be written: {error}") from None
    click.echo(f"{output}: {photograph}, {' | '.join(['clean', 'noisy', 'denoised'][: len(panels)])}")
