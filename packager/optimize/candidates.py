"""The rule table: which ways of running a model are worth trying, and which are not lawful here.

Each rule looks at the model's anatomy and at the hardware profile and gives a `Recipe` to try, or
an `Illegal` row with its reason, or nothing where the model has nothing to apply it to. What a
provider takes stands in `legality`. No rule promises anything: every recipe is made, gated and
measured afterwards. The rules come from measurements: the same INT8 tooling makes one CNN four
times slower with its default settings and three times faster with unsigned activations, signed
weights and per-channel scales.
"""

from __future__ import annotations

from collections.abc import Callable

from packager.domain.hardware import HardwareProfile
from packager.optimize.anatomy import Anatomy
from packager.optimize.float_rules import (
    bfloat,
    graph_optimization,
    half,
    half_fused,
    source,
    stored_half,
    transformer_fusions,
)
from packager.optimize.integer_rules import (
    int4_blocks,
    int8_blocks,
    int8_dynamic,
    int8_dynamic_embedding,
    int8_static,
    int8_static_convolution,
    int8_static_whole,
)
from packager.optimize.recipes import Illegal, Recipe

Rule = Callable[[Anatomy, HardwareProfile], Recipe | Illegal | None]

RULES: tuple[Rule, ...] = (
    source,
    graph_optimization,
    transformer_fusions,
    half,
    half_fused,
    bfloat,
    stored_half,
    int8_dynamic,
    int8_dynamic_embedding,
    int8_static_convolution,
    int8_static,
    int8_static_whole,
    int8_blocks,
    int4_blocks,
)


def candidates(anatomy: Anatomy, hardware: HardwareProfile) -> tuple[Recipe | Illegal, ...]:
    """All rows for a model on a profile; the first is the source as it is."""
    rows = (rule(anatomy, hardware) for rule in RULES)
    return tuple(row for row in rows if row is not None)
