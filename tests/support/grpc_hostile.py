"""Everybody at once whom `test_attacks.py` meets one by one, and thousands that say nothing, while
others go on asking over gRPC and whether the server is ready."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from grpc_callers import GrpcServer
from hpack import Encoder
from http2_peer import INFER
from runtime_process import RuntimeProcess
from stress import at, door, milliseconds, resident_mib
from tiny_models import RuntimeFolder

from packager.runtime.http2 import frames
from packager.runtime.http2.faults import ErrorCode
from packager.runtime.http2.frames import frame, rst_stream

GREETING = frames.PREFACE + frames.settings({})
STALLING = frames.PREFACE + frames.settings({4: 0})
HEAD = Encoder().encode(
    [
        (":method", "POST"), (":scheme", "http"), (":path", INFER), (":authority", "x"),
        ("te", "trailers"), ("content-type", "application/grpc"),
    ]
)  # fmt: skip


def head(stream: int, flags: int = frames.END_HEADERS) -> bytes:
    return frame(frames.HEADERS, flags, stream, HEAD)


# What is sent again and again without waiting for anything, by what it is.
FLOODS: dict[str, Callable[[int], bytes]] = {
    "resets": lambda turn: b"".join(
        head(stream) + rst_stream(stream, ErrorCode.CANCEL)
        for stream in range(200 * turn + 1, 200 * turn + 201, 2)
    ),
    "pings": lambda _: frame(frames.PING, 0, 0, bytes(8)) * 100,
    "settings": lambda _: frames.settings({3: 100}) * 100,
    "heads without end": lambda turn: (
        frame(frames.CONTINUATION, 0, 1, b"\0\1x\x40" + b"y" * 64) * 100
        if turn
        else head(1, flags=0)
    ),
}


def grpc_hostile(folder: Path, idle: int, others: int, seconds: float) -> dict[str, Any]:
    """`idle` connections, half of them with a greeting; `others` of each kind that dribbles, stalls
    or has closed its side, and a tenth as many of each flood, over and over."""
    image = RuntimeFolder(folder)
    image.add_classifier()
    image.document["grpc"] = {"port": 0}
    image.document["http"] |= {"header_seconds": 2.0, "body_seconds": 2.0, "write_seconds": 2.0}
    image.document["http"]["max_connections"] = max(64, idle + 6 * others + 64)
    with RuntimeProcess(image.write()) as process:
        process.wait_ready()
        before = resident_mib(process.process.pid)
        found = asyncio.run(_Hostile(process).run(idle, others, seconds))
        found["mib_for_all"] = round(resident_mib(process.process.pid) - before, 1)
        found["exit"] = process.stop()
        found["faults"] = sum(line["event"] == "fault" for line in process.log)
    return found


class _Hostile:
    def __init__(self, process: RuntimeProcess) -> None:
        self._server = at(process)
        asked = door(process, "classifier", "gRPC")
        assert isinstance(asked[0], GrpcServer)
        self._callers, self._message = asked[0], asked[1]
        self._held: list[socket.socket] = []
        self._stopped = asyncio.Event()
        self._found: Counter[str] = Counter()

    async def run(self, idle: int, others: int, seconds: float) -> dict[str, Any]:
        for number in range(idle):
            peer = await self._dial()
            if number % 2:
                await self._send(peer, GREETING)
        self._found["idle"] = idle
        kinds: list[Callable[[], Awaitable[None]]] = [
            lambda: self._dribble(GREETING, head(1)),
            lambda: self._dribble(GREETING + head(1), frame(0, 0, 1, b"\0") * 99),
            lambda: self._stall(),
            lambda: self._half(),
        ]
        tasks = [asyncio.ensure_future(kind()) for kind in kinds for _ in range(others)]
        for name in FLOODS:
            count = max(1, others // 10)
            tasks += [asyncio.ensure_future(self._flood(name)) for _ in range(count)]
        taken = await self._ask(seconds)
        self._stopped.set()
        await asyncio.gather(*tasks)
        for peer in self._held:
            peer.close()
        return dict(self._found) | {
            "asked_p99_ms": milliseconds(taken, 99),
            "asked_max_ms": milliseconds(taken, 100),
        }

    async def _ask(self, seconds: float) -> list[float]:
        ready, taken = self._server.request("GET", "/v2/health/ready"), []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for ask, name in (
                (self._server.ask(ready), "ready"),
                (self._callers.ask(self._message), "inferred"),
            ):
                began = time.perf_counter()
                status, _ = await ask
                taken.append(time.perf_counter() - began)
                self._found[name if status == 200 else f"{name} {status}"] += 1
            await asyncio.sleep(0.02)
        return taken

    async def _dial(self) -> socket.socket:
        loop, peer = asyncio.get_running_loop(), socket.socket()
        peer.setblocking(False)
        await loop.sock_connect(peer, ("127.0.0.1", self._callers.port))
        self._held.append(peer)
        return peer

    async def _send(self, peer: socket.socket, data: bytes) -> bool:
        try:
            await asyncio.get_running_loop().sock_sendall(peer, data)
        except OSError:
            return False
        return True

    async def _dribble(self, first: bytes, slowly: bytes) -> None:
        """A byte every half second."""
        peer = await self._dial()
        await self._send(peer, first)
        for place in range(len(slowly)):
            if self._stopped.is_set() or not await self._send(peer, slowly[place : place + 1]):
                return
            await asyncio.sleep(0.5)

    async def _stall(self) -> None:
        """Calls whose answers no window lets out."""
        peer = await self._dial()
        data = b"\0" + len(self._message).to_bytes(4, "big") + self._message
        calls = (head(one) + frame(0, frames.END_STREAM, one, data) for one in range(1, 9, 2))
        await self._send(peer, STALLING + b"".join(calls))

    async def _half(self) -> None:
        peer = await self._dial()
        await self._send(peer, GREETING + head(1))
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_WR)

    async def _flood(self, name: str) -> None:
        """Until the server has closed, and then again."""
        loop = asyncio.get_running_loop()
        while not self._stopped.is_set():
            peer, turn = await self._dial(), 0
            await self._send(peer, GREETING)
            while await self._send(peer, FLOODS[name](turn)) and not self._stopped.is_set():
                turn += 1
                await asyncio.sleep(0.01)
            said = b""
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(5):
                    while data := await loop.sock_recv(peer, 1 << 16):
                        said = (said + data)[-256:]
            calm = ErrorCode.ENHANCE_YOUR_CALM.to_bytes(4, "big") in said
            self._found[f"{name} told to calm down" if calm else f"{name} cut"] += 1
            self._held.remove(peer)
            peer.close()
            await asyncio.sleep(0.2)
