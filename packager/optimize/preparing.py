"""What the rules for candidates share: what a profile lists, and what must be done to a model
before a pass can work on it."""

from __future__ import annotations

from packager.domain.hardware import HardwareProfile, Precision
from packager.optimize.anatomy import Anatomy
from packager.optimize.recipes import Pass

DOMINATES = 0.3
"""From this share of the weights' bytes on, what holds them is worth a rule of its own."""

# Opsets: per-channel QDQ is defined from 13 on; 17 has LayerNormalization, and axes as ONNX
# Runtime's quantizers expect them. BF16 is defined for the operators of transformers from 17 on.
_OPSET_FOR_QUANTIZERS = 13
OPSET_AFTER_CONVERSION = 17


def unlisted(precision: Precision, hardware: HardwareProfile) -> str | None:
    """Why a number format must not be tried on this hardware; None when it may."""
    if precision in hardware.precisions:
        return None
    return f"the profile {hardware.id} lists no {precision.value}"


def converted(anatomy: Anatomy, least: int = _OPSET_FOR_QUANTIZERS) -> tuple[Pass, ...]:
    """The opset raised first: quantizers raise its number without converting the operators."""
    if anatomy.opset >= least:
        return ()
    return (Pass("convert_opset", (("to", OPSET_AFTER_CONVERSION),)),)


def folded(anatomy: Anatomy) -> tuple[Pass, ...]:
    """Constants and normalizations of batches folded into weights first, where passes look."""
    return (Pass("graph_optimization", (("level", "basic"),)),) if anatomy.must_fold else ()
