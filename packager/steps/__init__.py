"""The verbs of `pipeline.build`, one module each: they hand values from engine to engine."""

from packager.steps.assembling import assemble
from packager.steps.attesting import attest
from packager.steps.describing import describe
from packager.steps.locking import lock
from packager.steps.optimizing import optimize
from packager.steps.rendering import render
from packager.steps.reporting import report

__all__ = ["assemble", "attest", "describe", "lock", "optimize", "render", "report"]
