"""The crowd of `stress.exactness` over gRPC: half of it on connections of their own, the other half
on lines that carry a hundred calls each."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from grpc_callers import UNTOUCHED, GrpcServer, Line
from runtime_process import RuntimeProcess
from stress import counted, crowd_image, message_of, over_grpc
from tiny_models import classifier

from packager.runtime.grpc_service.messages import message

OF_A_LINE = 100
CHOICES = ((), ("scores",), ("label",), ("label", "scores"))
NAMES = ("scores", "label")


def grpc_exactness(folder: Path, count: int, seed: int = 7) -> dict[str, Any]:
    """`count` calls at the same time, 1 to 5 rows in every form; one in ten is given up, by a reset
    or with its connection."""
    with RuntimeProcess(crowd_image(folder, count).write()) as process:
        process.wait_ready()
        found = asyncio.run(_crowd(over_grpc(process), count, seed))
        found |= counted(process)
        found["exit"] = process.stop()
        found["faults"] = sum(line["event"] == "fault" for line in process.log)
    return found


class _Call:
    """One caller: what it asks, and whether the answer is that of the bare session."""

    def __init__(self, number: int, rng: random.Random, session: Any, found: Counter[str]) -> None:
        values = [rng.gauss(0, 1) for _ in range(4 * rng.randint(1, 5))]
        self.x = np.array(values, np.float32).reshape(-1, 4)
        self.outputs = rng.choice(CHOICES)
        self.id = f"call-{number}" if rng.random() < 0.5 else ""
        self.packed = rng.random() < 0.2
        self.typed = rng.random() < 0.2
        self.leaves = rng.random() < 0.1
        self.patience = rng.random() * 0.5
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._session, self._found = session, found

    def message(self) -> bytes:
        raw = message_of("classifier", self.x, self.outputs, self.id)
        if not self.typed:
            return raw
        asked = message("inference.ModelInferRequest").FromString(raw)
        del asked.raw_input_contents[:]
        asked.inputs[0].contents.fp32_contents.extend(self.x.ravel().tolist())
        return bytes(asked.SerializeToString())

    def told(self, status: int, body: bytes) -> None:
        if status == 200:
            self._found["right" if self._is_right(body) else "wrong"] += 1
        else:
            self._found[f"status {status}"] += 1
        self.done.set_result(None)

    def _is_right(self, body: bytes) -> bool:
        answer = message("inference.ModelInferResponse").FromString(body)
        expected = dict(zip(NAMES, self._session.run(None, {"x": self.x}), strict=True))
        names = [output.name for output in answer.outputs]
        if answer.id != self.id or names != list(self.outputs or NAMES):
            return False
        for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True):
            want = expected[output.name]
            got = np.frombuffer(raw, want.dtype).reshape(output.shape)
            if got.shape != want.shape or not np.allclose(got, want, atol=1e-5):
                return False
        return True


async def _crowd(server: GrpcServer, count: int, seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    session = onnxruntime.InferenceSession(classifier(), providers=["CPUExecutionProvider"])
    found: Counter[str] = Counter()
    calls = [_Call(number, rng, session, found) for number in range(count)]
    messages = [call.message() for call in calls]
    alone = count // 2
    lines = [await server.line() for _ in range(alone)]
    shared = [await server.line() for _ in range(-(-(count - alone) // OF_A_LINE))]
    began = time.perf_counter()

    async def leave(call: _Call, line: Line, stream: int, whole: bool) -> None:
        await asyncio.sleep(call.patience)
        if not line.cancel(stream):
            return  # it has its answer
        found["left before the answer"] += 1
        call.done.set_result(None)
        if whole:
            line.close()

    tasks = []
    for number, (call, data) in enumerate(zip(calls, messages, strict=True)):
        own = number < alone
        line = lines[number] if own else shared[(number - alone) // OF_A_LINE]
        stream = line.ask(data, call.told, packed=call.packed)
        if call.leaves:
            whole = own and number % 2 == 0
            tasks.append(asyncio.create_task(leave(call, line, stream, whole)))
    await asyncio.gather(*(call.done for call in calls), *tasks)
    seconds = time.perf_counter() - began
    for line in [*lines, *shared]:
        line.close()
    assert found[f"status {UNTOUCHED}"] == 0
    await asyncio.sleep(0.1)  # for the connections to be gone
    return dict(found) | {"asked": count, "seconds": round(seconds, 2)}
