"""What only some servers have: its code is loaded where it is asked for, and not before."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from .configuration import Configuration
from .exchange import Exchange
from .journal import Journal
from .lifecycle import Lifecycle
from .records_settings import AUDIT_FOLDER
from .routes import Answer, Handler

if TYPE_CHECKING:
    from .generative.feature import Generation
    from .records import Records
    from .traces import Traces


def traces_of_run(configuration: Configuration, journal: Journal) -> Traces | None:
    """Traces, where the site has a folder for them."""
    if not os.environ.get("PACKAGER_TRACES_DIR"):
        return None
    from .traces import traces_of

    release, records = configuration.release, configuration.records
    resource = {
        "service.name": release.name,
        "service.version": release.version,
        "packager.target": release.target,
        "packager.region": os.environ.get("PACKAGER_REGION", ""),
        "packager.retention": records.retention or "",
    }
    told = {key: value for key, value in resource.items() if value}
    return traces_of(os.environ, told, lambda why: journal.event("traces_failed", why=why))


def on_demand(make: Callable[[], Handler]) -> Handler:
    """A handler whose code is loaded when somebody asks for the first time, not at the start."""
    made: list[Handler] = []

    def handler(exchange: Exchange) -> Answer:
        if not made:
            made.append(make())
        return made[0](exchange)

    return handler


def generation_of(
    configuration: Configuration, lifecycle: Lifecycle, journal: Journal, helpers: Executor
) -> Generation | None:
    """Text generation, where server.json has a model for it."""
    if not configuration.generative:
        return None
    # Its libraries are in the image only when a generative model is.
    from pathlib import Path

    from .generative.feature import Generation

    path = Path(configuration.folder, configuration.document)
    return Generation(path, configuration.generative, lifecycle, journal, helpers)


def records_of(configuration: Configuration) -> Records | None:
    """The record of events, where the site has a folder for it."""
    folder = os.environ.get(AUDIT_FOLDER)
    if not folder:
        return None
    from pathlib import Path

    from .records import Records

    return Records(Path(folder), configuration.records)
