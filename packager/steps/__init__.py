"""The verbs of `pipeline.build`, one module each: they hand values from engine to engine.

A verb's module is read when the verb is first asked for: whoever verifies or installs a release
does not wait for the optimizer's numpy and onnx.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from packager.steps.sources import Sources

if TYPE_CHECKING:
    from packager.steps.assembling import assemble
    from packager.steps.attesting import attest
    from packager.steps.basing import locked_base, pins_base, with_locked_base, with_pinned_base
    from packager.steps.charting import pack_charts
    from packager.steps.describing import describe
    from packager.steps.hardware import distinct_hardware
    from packager.steps.indexing import index_images
    from packager.steps.locking import lock
    from packager.steps.modelling import optimize_models
    from packager.steps.optimizing import optimize
    from packager.steps.pushing import push_releases
    from packager.steps.rebuilding import rebuilt
    from packager.steps.recipients import refuse_unusable_recipients
    from packager.steps.rendering import render
    from packager.steps.reporting import report

_HOMES = {
    "assemble": "assembling",
    "attest": "attesting",
    "describe": "describing",
    "distinct_hardware": "hardware",
    "index_images": "indexing",
    "lock": "locking",
    "locked_base": "basing",
    "optimize": "optimizing",
    "optimize_models": "modelling",
    "pack_charts": "charting",
    "pins_base": "basing",
    "push_releases": "pushing",
    "rebuilt": "rebuilding",
    "refuse_unusable_recipients": "recipients",
    "render": "rendering",
    "report": "reporting",
    "with_locked_base": "basing",
    "with_pinned_base": "basing",
}

__all__ = [
    "Sources",
    "assemble",
    "attest",
    "describe",
    "distinct_hardware",
    "index_images",
    "lock",
    "locked_base",
    "optimize",
    "optimize_models",
    "pack_charts",
    "pins_base",
    "push_releases",
    "rebuilt",
    "refuse_unusable_recipients",
    "render",
    "report",
    "with_locked_base",
    "with_pinned_base",
]


def __getattr__(name: str) -> Any:
    """PEP 562: a verb, from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
