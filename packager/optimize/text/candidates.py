"""The rule table for text models: which number formats are worth trying, and which are not lawful.

Matrix products hold nearly all weights of a decoder, and reading them is what a token costs, so the
candidates are ways of storing those: in 8 bits, and in 4 bits with blocks of several sizes. The
table of embeddings and the normalizations stay as they are.
"""

from __future__ import annotations

from packager.domain.hardware import HardwareProfile, Precision
from packager.optimize.anatomy import Anatomy
from packager.optimize.legality import provider
from packager.optimize.recipes import SOURCE, Illegal, Pass, Recipe

BLOCKS_8 = (32, 128)
BLOCKS_4 = (32, 64, 128)


def text_candidates(anatomy: Anatomy, hardware: HardwareProfile) -> tuple[Recipe | Illegal, ...]:
    """All rows for a decoder on a profile; the first is the source as it is."""
    rows: list[Recipe | Illegal] = [
        Recipe(SOURCE, anatomy.precision, lossless=True, why="what all others are held against")
    ]
    if anatomy.precision is not Precision.FP32 or anatomy.quantized:
        return tuple(rows)
    own = provider(hardware.execution_provider)
    rows += [_half(Precision.FP16, own.half), _half(Precision.BF16, own.bf16)]
    rows += [_blocks(8, block, own.block_weights) for block in BLOCKS_8]
    rows += [_blocks(4, block, own.block_weights) for block in BLOCKS_4]
    return tuple(rows)


def _half(precision: Precision, reason: str | None) -> Illegal:
    told = reason or "the engine for text runs on the CPU provider, which computes in FP32"
    return Illegal(precision.value, precision, told)


def _blocks(bits: int, block: int, reason: str | None) -> Recipe | Illegal:
    precision = Precision.INT4 if bits == 4 else Precision.INT8
    name = f"int{bits}-blocks-{block}"
    if reason:
        return Illegal(name, precision, reason)
    parameters = (("bits", bits), ("block", block), ("symmetric", True), ("accuracy_level", 4))
    return Recipe(
        name,
        precision,
        lossless=False,
        passes=(Pass("block_weights", parameters),),
        why=f"a token costs reading the weights; {bits} bits and a scale for each {block} of them",
    )
