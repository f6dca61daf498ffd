"""Plots as numbers: points within a box of pixels, with the ticks of their axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10
from typing import Any

WIDTH, HEIGHT = 640, 180
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 26


def line_plot(
    times: Sequence[float], series: Mapping[str, Sequence[float | None]], unit: str
) -> dict[str, Any]:
    """Several lines over one axis of seconds; gaps where a value is None."""
    most = max(
        (value for line in series.values() for value in line if value is not None), default=1
    )
    top = _nice(most)
    last = max(times, default=1.0) or 1.0
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "unit": unit,
        "lines": [
            {
                "name": name,
                "points": " ".join(
                    f"{_x(at / last)},{_y(value / top)}"
                    for at, value in zip(times, line, strict=True)
                    if value is not None
                ),
            }
            for name, line in series.items()
        ],
        "ticks": [
            {"y": _y(part / 4), "label": f"{top * part / 4:g}", "left": LEFT} for part in range(5)
        ],
        "seconds": [{"x": _x(part / 4), "label": f"{last * part / 4:.0f} s"} for part in range(5)],
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "bottom": HEIGHT - BOTTOM,
    }


def scatter(rows: Sequence[Mapping[str, Any]], x: str, y: str) -> dict[str, Any]:
    """Points of two figures of each row, with their titles."""
    across, up = _nice(max(row[x] for row in rows)), _nice(max(row[y] for row in rows))
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "dots": [
            {"x": _x(row[x] / across), "y": _y(row[y] / up), "title": row["objective"]}
            for row in rows
        ],
        "ticks": [
            {"y": _y(part / 4), "label": f"{up * part / 4:g}", "left": LEFT} for part in range(5)
        ],
        "across": [{"x": _x(part / 4), "label": f"{across * part / 4:g}"} for part in range(5)],
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "bottom": HEIGHT - BOTTOM,
    }


def _x(share: float) -> float:
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _y(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _nice(value: float) -> float:
    """The next of 1, 2, 2.5, 4, 5, 8, 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10 ** floor(log10(value))
    return next(
        factor * power for factor in (1, 2, 2.5, 4, 5, 8, 10) if factor * power >= value * 0.999
    ) or float(ceil(value))
