"""A process that has imported what workers need and forks one for each task; it does nothing else.

Started as `python -P -m packager.optimize.zygote` by `forking`. A request is a line of JSON on its
standard input, an ending one on its standard output. It never opens a session and has one thread:
of several, a fork copies one and leaves the locks of the others held for ever (fork(2)). Where the
imports leave a second thread it says so and ends, and workers are started from nothing. Who started
it being gone, it ends everything.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

WARM = (
    "packager.optimize.worker",
    "packager.optimize.passes",
    "packager.optimize.layers",
    "packager.optimize.npz",
    "packager.optimize.task",
    "packager.optimize.timing",
    "onnx.version_converter",
)
ENGINE = ("engine", "quantization", "transformer_optimizer")


def main() -> int:
    """Import, then fork for each request until standard input ends."""
    requests, answers = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):  # what an import has to say is no answer
        os.dup2(null, stream)
    for name in WARM:
        import_module(name)
    for name in ENGINE:
        getattr(import_module("packager.optimize.engine"), name)()
    threads = len(list(Path("/proc/self/task").iterdir()))
    _tell(answers, {"threads": threads})
    if threads > 1:
        return 1
    gc.collect()
    gc.freeze()  # a collection in a child would write to, and so copy, every page of ours
    _Nursery(requests, answers).serve()
    return 0


class _Nursery:
    """The forked workers by the number of their request."""

    def __init__(self, requests: int, answers: int) -> None:
        self.requests, self.answers = requests, answers
        self.children: dict[int, int] = {}
        self.woken, self.waking = os.pipe()
        for end in (self.woken, self.waking):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self.waking, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Until whoever asks is gone; what still runs then is ended."""
        unread = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.requests, selectors.EVENT_READ)
            selector.register(self.woken, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if self.woken in ready:
                    with suppress(BlockingIOError):
                        os.read(self.woken, 4096)
                    self._reap()
                if self.requests in ready:
                    data = os.read(self.requests, 1 << 16)
                    if not data:
                        break
                    *lines, unread = (unread + data).split(b"\n")
                    for line in lines:
                        self._heed(json.loads(line))
        for child in self.children.values():
            _end(child)
            os.waitpid(child, 0)

    def _heed(self, request: dict[str, Any]) -> None:
        if "end" in request:
            if child := self.children.get(request["end"]):
                _end(child)
            return
        child = os.fork()
        if child == 0:
            self._become_worker(request)
        self.children[request["id"]] = child

    def _become_worker(self, request: dict[str, Any]) -> None:
        """In the child: the task, and out; nothing of the parent's is cleaned up twice."""
        code = 1
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            complaint = os.open(request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(complaint, 2)
            for end in (complaint, self.requests, self.answers, self.woken, self.waking):
                os.close(end)
            from packager.optimize import worker

            code = worker.main(Path(request["task"]), Path(request["result"]))
        except SystemExit as ending:
            code = ending.code if isinstance(ending.code, int) else 1
        except BaseException:  # as the interpreter would: told on stderr, exit code 1
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        """Tell how children ended. Their groups go before their numbers can be another's."""
        for number, child in list(self.children.items()):
            looked = os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if looked is None:
                continue
            _end(child)
            _, status = os.waitpid(child, 0)
            del self.children[number]
            _tell(self.answers, {"id": number, "code": os.waitstatus_to_exitcode(status)})


def _end(child: int) -> None:
    """A child that nobody waited for yet, and whatever it started."""
    for kill in (os.killpg, os.kill):  # it may be too young to have a group of its own
        with suppress(ProcessLookupError, PermissionError):
            kill(child, signal.SIGKILL)


def _tell(answers: int, message: dict[str, Any]) -> None:
    os.write(answers, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
