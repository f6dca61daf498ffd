"""How the work is shared out: processes at the same time, here or on a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from packager.optimize.processes import Workers, warmed

JOBS_AT_MOST = 4
"""Without `--jobs`: more processes than this want more memory than a usual machine has."""


@dataclass(frozen=True, slots=True)
class Effort:
    """`jobs` candidates are made and judged at the same time (0: as many as there are processors,
    four at most); with `scheduler` (tcp://host:port) by the workers of a Dask cluster. Timing is
    always one candidate after the other."""

    jobs: int = 0
    scheduler: str | None = None

    @property
    def at_once(self) -> int:
        """The number of tasks in flight."""
        return self.jobs or min(JOBS_AT_MOST, len(os.sched_getaffinity(0)))


@contextmanager
def workers_for(effort: Effort) -> Iterator[Workers]:
    """The processes of this machine, or those of a cluster. Raises UnavailableError without one."""
    if effort.scheduler is None:
        with warmed(Workers(at_once=effort.at_once)) as here:
            yield here
        return
    from packager.optimize.cluster import connected

    with connected(effort.scheduler, effort.jobs) as workers:
        yield workers
