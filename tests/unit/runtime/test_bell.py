"""What threads put in place is found in the event loop, all of it and at once."""

from __future__ import annotations

import asyncio
import threading
from collections import deque

from packager.runtime.bell import Bell

EACH = 3000


def test_nothing_that_several_threads_put_in_place_is_overlooked() -> None:
    assert asyncio.run(_heard(threads=4)) == sorted(
        (thread, number) for thread in range(4) for number in range(EACH)
    )


async def _heard(threads: int) -> list[tuple[int, int]]:
    put: deque[tuple[int, int]] = deque()
    found: list[tuple[int, int]] = []
    complete = asyncio.Event()

    def heard() -> None:
        while put:
            found.append(put.popleft())
        if len(found) == threads * EACH:
            complete.set()

    bell = Bell(asyncio.get_running_loop(), heard)

    def work(thread: int) -> None:
        for number in range(EACH):
            put.append((thread, number))
            bell.ring()

    workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    try:
        await asyncio.wait_for(complete.wait(), 60)
    finally:
        for worker in workers:
            worker.join()
        bell.close()
    return sorted(found)


def test_it_wakes_a_loop_that_sleeps_as_often_as_it_is_rung() -> None:
    async def run() -> int:
        heard = asyncio.Event()
        bell = Bell(asyncio.get_running_loop(), heard.set)
        for _ in range(20):
            threading.Timer(0.002, bell.ring).start()
            await asyncio.wait_for(heard.wait(), 30)
            heard.clear()
        bell.close()
        return 20

    assert asyncio.run(run()) == 20
