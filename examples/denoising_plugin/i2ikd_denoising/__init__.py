"""Denoising of photographs for i2ikd: task, data, network, distillation loss, metric, reader and command."""
