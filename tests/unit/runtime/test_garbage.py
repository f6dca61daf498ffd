"""What a request leaves behind is freed at once: nothing of it waits for the garbage collector."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path

import numpy as np
from runtime_process import RuntimeProcess
from stress import X, Y, at, body, message_of, over_grpc, request
from tiny_models import RuntimeFolder, spinner

COUNTING = """
import gc, sys
from packager.runtime import server
from packager.runtime.__main__ import main
settled, found = server.settle, []
def settle():
    settled()
    gc.callbacks.append(lambda phase, of: phase == "stop" and found.append(of["collected"]))
server.settle = settle
code = main(sys.argv[1:])
gc.collect()
print("garbage", sum(found), file=sys.stderr)
sys.exit(code)
"""
COUNT = 200


def test_requests_leave_no_garbage(tmp_path: Path) -> None:
    """Those that are answered, and those whose client leaves meanwhile."""
    image = RuntimeFolder(tmp_path)
    image.add_classifier()["batching"] = {"max_batch_size": 8, "inline_rows": 0}
    image.add("slow", spinner(2000), X, Y)
    image.document["grpc"] = {"port": 0}
    options = ["--config", str(image.write()), "--host", "127.0.0.1", "--port", "0"]
    with RuntimeProcess(tmp_path, command=[sys.executable, "-c", COUNTING, *options]) as process:
        process.wait_ready()
        asyncio.run(_ask(process))
        assert process.stop() == 0
        told = next(line for line in process.stderr().splitlines() if line.startswith("garbage"))
    # The connections themselves, their timers and the end of the server leave some.
    assert int(told.split()[1]) < 3 * COUNT


async def _ask(process: RuntimeProcess) -> None:
    row = np.ones((1, 4), np.float32)
    rest, remote = at(process), over_grpc(process)
    for server, ask in (
        (rest, lambda model: request(rest, model, body(row, binary=True))),
        (remote, lambda model: message_of(model, row)),
    ):
        statuses: asyncio.Queue[int] = asyncio.Queue()

        def answered(_: object, status: int, __: float, heard: asyncio.Queue[int]) -> None:
            heard.put_nowait(status)

        caller = await server.connect(partial(answered, heard=statuses))
        for _ in range(COUNT):
            caller.ask(ask("classifier"), 0.0)
            assert await asyncio.wait_for(statuses.get(), 30) == 200
        caller.close()
        for _ in range(10):
            leaver = await server.connect(partial(answered, heard=statuses))
            leaver.ask(ask("slow"), 0.0)
            await asyncio.sleep(0.005)
            leaver.close()
