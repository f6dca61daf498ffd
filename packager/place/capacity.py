"""What one replica carries within a latency limit: a queueing model of one server.

Requests arrive as a Poisson process. What a service record tells decides on the queue:

- one request after the other, or up to `batch` together: `BatchQueue`, exact but for its grid;
- more than one at once without batches (saturated rate × a lone request's time is well above one,
  as on many cores): M/G/c by the approximation of Allen and Cunneen. A request waits with Erlang's
  C probability, and then for an exponential time whose mean is that of M/M/c times (1 + cv²) ÷ 2.

Service time is log-normal through the measured median and 99th percentile, and its mean under load
follows from the saturated rate. A request that finds the server idle takes `idle_ms`.
`benchmarks/place` holds the model to the real server, and docs/placement.md tells what was found.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, exp, floor, log
from statistics import NormalDist

from packager.domain.placement import Service
from packager.place.batch_queue import BatchQueue

# Utilizations that pools are run to. Above 0.9 a queue has no patience for anything unexpected.
UTILIZATIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9)
_QUANTILES, _FEW_QUANTILES, _NARROW = 16, 8, 0.2
_Z99 = NormalDist().inv_cdf(0.99)
_STEPS = 60
# What runs one after the other measures a little more or less than one at once.
_NEARLY = 0.1


@dataclass(frozen=True, slots=True)
class Queue:
    """One replica: `servers` at once; times in milliseconds of the replies to one client, at the
    middle of equal shares of them; `idle` times as long for one that finds the server idle."""

    servers: int
    batch: int
    per_ms: float
    cv_squared: float
    service_ms: tuple[float, ...]
    idle: float

    @classmethod
    def of(cls, service: Service) -> Queue:
        """The queue that a service record describes."""
        sigma = spread_of(service)
        normal = NormalDist()
        count = _FEW_QUANTILES if sigma < _NARROW else _QUANTILES
        times = tuple(
            service.p50_ms * exp(sigma * normal.inv_cdf((rank + 0.5) / count))
            for rank in range(count)
        )
        per_ms = service.per_second / 1000
        at_once = 1 if service.batch > 1 else max(1, floor(per_ms * sum(times) / count + _NEARLY))
        idle = (service.idle_ms or service.p50_ms) / service.p50_ms
        return cls(at_once, service.batch, per_ms, exp(sigma**2) - 1, times, idle)

    @property
    def runs(self) -> BatchQueue:
        """What one of the servers does."""
        mean = sum(self.service_ms) / len(self.service_ms)
        full = self.batch * self.servers / self.per_ms
        spread = tuple(time / mean for time in self.service_ms)
        return BatchQueue(self.batch, mean * self.idle, mean, full, spread)

    def percentile_ms(self, utilization: float, percentile: float) -> float:
        """The reply time that `percentile` (0 to 1) of requests stay within."""
        if not 0 <= utilization < 1:
            raise ValueError(f"utilization {utilization} is not within 0 and 1")
        if self.servers == 1 and utilization:
            return self.runs.percentile_ms(utilization * self.per_ms, percentile)
        waits = erlang_c(self.servers, utilization)
        idle_rate = self.per_ms * (1 - utilization)
        mean_wait = (1 + self.cv_squared) / 2 / idle_rate

        def within(limit: float) -> float:
            total = 0.0
            for service in self.service_ms:
                if service <= limit:
                    total += 1 - waits * exp(-(limit - service) / mean_wait)
            return total / len(self.service_ms)

        low, high = 0.0, max(self.service_ms)
        while within(high) < percentile:
            high *= 2
        for _ in range(_STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if within(middle) < percentile else (low, middle)
        return high


def spread_of(service: Service) -> float:
    """The standard deviation of the logarithm of a lone request's time."""
    return max(0.0, log(max(service.p99_ms / service.p50_ms, 1.0)) / _Z99)


def erlang_c(servers: int, utilization: float) -> float:
    """The probability that a request finds all servers busy (Erlang's C formula)."""
    load = servers * utilization
    blocked = 1.0  # Erlang's B by its recursion, which does not overflow
    for busy in range(1, servers + 1):
        blocked = load * blocked / (busy + load * blocked)
    return blocked / (1 - utilization * (1 - blocked))


@lru_cache(maxsize=4096)
def reply_ms(service: Service, utilization: float, percentile: float) -> float:
    """Milliseconds of a reply at a utilization, network aside."""
    return Queue.of(service).percentile_ms(utilization, percentile)


def highest_utilization(service: Service, percentile: float, limit_ms: float) -> float | None:
    """The highest of `UTILIZATIONS` that keeps the limit; None when even the lowest does not."""
    kept = [u for u in UTILIZATIONS if reply_ms(service, u, percentile) <= limit_ms]
    return max(kept, default=None)


def headroom(surge_factor: float, ramp_s: float, cold_start_s: float, *, elastic: bool) -> float:
    """How many times the peak must stand ready before anything has happened.

    Static capacity carries the whole surge. Elastic capacity carries what arrives until the first
    new replica is warm: the share of a linear ramp that the cold start takes.
    """
    if not elastic:
        return surge_factor
    return 1 + (surge_factor - 1) * min(1.0, cold_start_s / ramp_s if ramp_s else 1.0)


def replicas_for(rate: float, per_second: float) -> int:
    """Whole replicas for a rate, against the rounding of floating-point numbers."""
    return ceil(rate / per_second - 1e-9)
