"""The verbs of `pipeline.build`, one module each: they hand values from engine to engine."""

from packager.steps.assembling import assemble
from packager.steps.attesting import attest
from packager.steps.describing import describe
from packager.steps.locking import lock
from packager.steps.optimizing import distinct_hardware, optimize
from packager.steps.rebuilding import rebuilt
from packager.steps.rendering import render
from packager.steps.reporting import report
from packager.steps.sources import Sources

__all__ = [
    "Sources",
    "assemble",
    "attest",
    "describe",
    "distinct_hardware",
    "lock",
    "optimize",
    "rebuilt",
    "render",
    "report",
]
