"""The protocol's messages, made from `messages.desc` in a pool of their own.

That file is what protoc makes of the `.proto` files beside it (`--descriptor_set_out`); code that
protoc generates would be bound to one version of protobuf, and its pool is shared with whoever else
in the process declares the package `inference`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FILE = Path(__file__).with_name("messages.desc")


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(_FILE.read_bytes())
    for file in files.file:
        pool.Add(file)
    return pool


_POOL = _pool()


def message(name: str) -> Any:
    """The class of a message, such as `inference.ModelInferRequest`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


def methods(service: str) -> dict[str, tuple[Any, Any, bool]]:
    """Call → class of its request, class of its response, whether it streams."""
    return {
        method.name: (
            message_factory.GetMessageClass(method.input_type),
            message_factory.GetMessageClass(method.output_type),
            bool(method.server_streaming),
        )
        for method in _POOL.FindServiceByName(service).methods
    }
