"""Denoising of photographs for i2ikd: a task with its data, network, distillation loss, metric, reader and command."""
