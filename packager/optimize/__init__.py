"""The optimizer: candidates from a rule table, each made in its own process, gated by quality on
held-out samples, measured against the source model, and chosen by the release's objective.

Start reading at `optimizing`, the table of contents. `onnx` is imported by `reading` and the worker
processes only, `onnxruntime` through `engine` only.
"""
