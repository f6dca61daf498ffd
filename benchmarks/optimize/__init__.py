"""Benchmarks of the optimizer: candidates on a real GPU, and side by side with Olive."""
