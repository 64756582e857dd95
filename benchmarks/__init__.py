"""Benchmarks: i2ikd's engine against a plain training loop and against the speed of an isolated convolution."""
