"""Where the figures of the server come from, for `/metrics` and for the status page."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterator

from .gpu import Gpus
from .lifecycle import Lifecycle
from .listening import Connections
from .models import Model, Models

_PAGE = os.sysconf("SC_PAGESIZE")
Sample = tuple[str, str, dict[str, str], float]
# Kind, name, help, labels, value: what a feature adds to the figures.
Figure = tuple[str, str, str, dict[str, str], float]


class Figures:
    """Looks at what is there when it is asked; `answers` counts answers by status."""

    def __init__(
        self, lifecycle: Lifecycle, connections: Connections, models: Callable[[], Models]
    ) -> None:
        self.answers: dict[int, int] = {}
        self.started = time.time()
        self.sources: list[Callable[[], Iterator[Figure]]] = []
        self._lifecycle = lifecycle
        self._connections = connections
        self._models = models
        self._gpus: Gpus | None = None

    def answered(self, status: int) -> None:
        self.answers[status] = self.answers.get(status, 0) + 1

    def models(self) -> Iterator[Model]:
        return self._models().all()

    def ready(self) -> bool:
        return self._lifecycle.fit() and not any(model.scheduler.failing for model in self.models())

    def phase(self) -> str:
        return self._lifecycle.phase.value

    def in_hand(self) -> int:
        return self._lifecycle.in_hand

    def connections(self) -> int:
        return len(self._connections)

    def connections_refused(self) -> int:
        return self._connections.refused

    def process(self) -> dict[str, tuple[str, str, float]]:
        """The process's own figures under Prometheus's usual names."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "process_resident_memory_bytes": (
                "gauge",
                "Resident memory",
                _resident_pages() * _PAGE,
            ),
            "process_cpu_seconds_total": (
                "counter",
                "CPU time, user and system",
                used.ru_utime + used.ru_stime,
            ),
            "process_open_fds": (
                "gauge",
                "Open file descriptors",
                len(os.listdir("/proc/self/fd")),
            ),
            "process_start_time_seconds": ("gauge", "Start, in Unix time", self.started),
        }

    def accelerators(self) -> list[Sample]:
        """Power and use of GPUs, where a model runs on one and the driver's library tells."""
        if not any(not m.session.on_cpu for m in self.models()):
            return []
        if self._gpus is None:
            self._gpus = Gpus()
        return self._gpus.samples()


def _resident_pages() -> int:
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1])
