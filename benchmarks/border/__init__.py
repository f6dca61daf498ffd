"""Across the border: bundles beside cp and sha256sum, deltas beside zstd and xdelta3."""
