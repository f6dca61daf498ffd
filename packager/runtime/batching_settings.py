"""What `server.json` says of a model's queue: how requests are put together, and how many may wait.

The words and their meaning are Triton's (model configuration, "Dynamic Batcher"), except that a
queue is never without a bound. Beside them stand values that are known when a release is built:
`instances`, how many inferences run at a time (0: as many as there are cores for), `inline_rows`,
up to how many rows an inference takes less time than handing it to a thread, `fill_up`, the only
numbers of rows that are run where every other number costs the provider a new plan, and
`cuda_graphs`, the numbers of rows for which a CUDA graph is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from .reading import Reader

_MOST_LEVELS = 16
_MOST_MICROSECONDS = 3_600_000_000


class TimeoutAction(StrEnum):
    """What becomes of a request that waited longer than it may: refused, or put behind all."""

    REJECT = "REJECT"
    DELAY = "DELAY"


class QueuePolicy(NamedTuple):
    """One level of a queue. Microseconds; 0 is no timeout. A request may only shorten it."""

    timeout_action: TimeoutAction = TimeoutAction.REJECT
    default_timeout_microseconds: int = 0
    allow_timeout_override: bool = True
    max_queue_size: int = 256


class Batching(NamedTuple):
    """How a model's requests are queued. `max_batch_size` counts rows; 0 puts nothing together."""

    max_batch_size: int = 0
    preferred_batch_size: tuple[int, ...] = ()
    max_queue_delay_microseconds: int = 0
    priority_levels: int = 1
    default_priority_level: int = 1
    policy: QueuePolicy = QueuePolicy()
    policies: Mapping[int, QueuePolicy] = MappingProxyType({})
    instances: int = 0
    inline_rows: int = 0
    fill_up: tuple[int, ...] = ()
    cuda_graphs: tuple[int, ...] = ()

    def policy_of(self, level: int) -> QueuePolicy:
        return self.policies.get(level, self.policy)


def read_batching(model: Reader) -> Batching:
    """The section `batching` of a model; what is not said is as before there was batching."""
    if not model.has("batching"):
        return Batching()
    reader = model.at("batching")
    reader.only(
        optional=(
            *("max_batch_size", "preferred_batch_size", "max_queue_delay_microseconds"),
            *("priority_levels", "default_priority_level", "default_queue_policy"),
            *("priority_queue_policy", "instances", "inline_rows"),
            *("fill_up", "cuda_graphs"),
        )
    )
    most = reader.integer("max_batch_size", 0, 1 << 20, 0)
    levels = reader.integer("priority_levels", 1, _MOST_LEVELS, 1)
    usual = QueuePolicy()
    if reader.has("default_queue_policy"):
        usual = _policy(reader.at("default_queue_policy"), usual)
    return Batching(
        max_batch_size=most,
        preferred_batch_size=_sizes(reader, "preferred_batch_size", most),
        max_queue_delay_microseconds=reader.integer(
            "max_queue_delay_microseconds", 0, _MOST_MICROSECONDS, 0
        ),
        priority_levels=levels,
        default_priority_level=reader.integer(
            "default_priority_level", 1, levels, (levels + 1) // 2
        ),
        policy=usual,
        policies=_policies(reader, levels, usual),
        instances=reader.integer("instances", 0, 256, 0),
        inline_rows=reader.integer("inline_rows", 0, 1 << 20, 0),
        fill_up=_sizes(reader, "fill_up", most),
        cuda_graphs=_sizes(reader, "cuda_graphs", most),
    )


def _sizes(reader: Reader, key: str, most: int) -> tuple[int, ...]:
    """Numbers of rows, smallest first; none where the key is missing."""
    if not reader.has(key):
        return ()
    return tuple(sorted({entry.as_integer(1, max(1, most)) for entry in reader.entries(key)}))


def _policies(reader: Reader, levels: int, usual: QueuePolicy) -> Mapping[int, QueuePolicy]:
    if not reader.has("priority_queue_policy"):
        return {}
    section = reader.at("priority_queue_policy")
    known = {str(level): level for level in range(1, levels + 1)}
    section.only(optional=tuple(known))
    return {known[key]: _policy(section.at(key), usual) for key in section.names()}


def _policy(reader: Reader, usual: QueuePolicy) -> QueuePolicy:
    reader.only(
        optional=(
            *("timeout_action", "default_timeout_microseconds"),
            *("allow_timeout_override", "max_queue_size"),
        )
    )
    action = reader.at("timeout_action")
    if reader.has("timeout_action") and action.value not in list(TimeoutAction):
        raise action.wrong("must be REJECT or DELAY")
    return QueuePolicy(
        timeout_action=TimeoutAction(action.value)
        if reader.has("timeout_action")
        else usual.timeout_action,
        default_timeout_microseconds=reader.integer(
            "default_timeout_microseconds",
            0,
            _MOST_MICROSECONDS,
            usual.default_timeout_microseconds,
        ),
        allow_timeout_override=reader.flag("allow_timeout_override", usual.allow_timeout_override),
        max_queue_size=reader.integer("max_queue_size", 1, 1 << 20, usual.max_queue_size),
    )
