"""An accelerator's export class, computed from datasheet figures. No legal classification.

United States, EAR, Commerce Control List 3A090 (from memory of the rule of October 2023): total
processing performance (TPP) is the highest product of dense tera-operations per second and bit
length; performance density is TPP by the area of the die in mm². Only the manufacturer's
classification counts.
"""

from __future__ import annotations

from collections.abc import Mapping

from packager.domain.hardware import Precision

_BITS = {
    Precision.FP32: 32,
    Precision.FP16: 16,
    Precision.BF16: 16,
    Precision.INT8: 8,
    Precision.INT4: 4,
}
OTHER_BITS = {"fp8": 8, "fp6": 6, "fp4": 4}


def total_processing_performance(
    rates: Mapping[Precision, float | None], others: Mapping[str, float]
) -> float | None:
    """TPP in tera-operations × bits, from dense peak rates; None when no tensor rate is known.

    FP32 is left out: its published rate is that of the vector units.
    """
    products = [
        rate * _BITS[precision]
        for precision, rate in rates.items()
        if rate is not None and precision is not Precision.FP32
    ]
    products += [rate * OTHER_BITS[name] for name, rate in others.items()]
    return max(products, default=None)


def export_class(tpp: float | None, die_area_mm2: float | None, data_center: bool) -> str | None:
    """The paragraph of 3A090 that the figures lead to, with the figures; None without figures."""
    if tpp is None:
        return None
    density = tpp / die_area_mm2 if die_area_mm2 else None
    figures = f"computed, no legal classification: TPP {tpp:.0f}"
    if density is not None:
        figures += f", performance density {density:.1f}"
    return f"{_paragraph(tpp, density, data_center)} ({figures})"


def _paragraph(tpp: float, density: float | None, data_center: bool) -> str:
    if not data_center:
        return "3A090 note or NAC path" if tpp >= 4800 else "below 3A090"
    if tpp >= 4800:
        return "3A090.a"
    if tpp < 1600:
        return "below 3A090"
    if density is None:
        return "3A090 not decidable without the area of the die"
    if density >= 5.92:
        return "3A090.a"
    if density >= 3.2 or (tpp >= 2400 and density >= 1.6):
        return "3A090.b"
    return "below 3A090"
