"""Measured on the machine that runs them: `python -m benchmarks`, or one by its module."""
