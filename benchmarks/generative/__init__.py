"""Text generation, measured: its criteria, beside other engines, and under mixed load."""
