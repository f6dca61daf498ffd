"""Where the examples are, for tests that read them."""

from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "filetype"
