"""The process that tries grammars: `python -m packager_runtime.generative.trial FD CONFIG NAME`.

What a grammar costs does not show in its text: a schema of 41 bytes took 6 seconds to compile, one
of twenty patterns three minutes, and the library's own limits let both pass (llguidance 1.9). In
the worker that would hold up everybody's tokens. So each grammar is compiled here first, up to its
first mask, by a child that the kernel ends when it has used its share of a processor or of the
memory. It is forked from a process that has the vocabulary already, and costs a few milliseconds.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from .. import configuration
from ..dumps import forbid_dumps
from .channel import Channel
from .constraints import Constraints

SECONDS = 0.2
"""Of a processor: nobody's tokens come while the worker does the same again."""
_MOST_BYTES = 2 << 30


def main(arguments: list[str]) -> int:
    """Say of one grammar after the other whether it is bearable, until the server leaves."""
    forbid_dumps()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=int(arguments[0])))
    path, name = Path(arguments[1]), arguments[2]
    (settings,) = (one for one in configuration.load(path).generative if one.name == name)
    constraints = Constraints(path.resolve().parent / settings.tokenizer, settings)
    constraints.make({"json_object": True})  # reads the vocabulary
    while (message := channel.receive(wait=True)) is not None:
        channel.send({"bearable": bearable(constraints, message)})
    return 0


def bearable(constraints: Constraints, grammar: dict[str, Any]) -> bool:
    """Whether it was compiled within its limits, or refused by the library within them: why, the
    worker says."""
    child = os.fork()
    if child == 0:
        _compile(constraints, grammar)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def _compile(constraints: Constraints, grammar: dict[str, Any]) -> None:
    """In the child, which ends with it: with 0, or by SIGPROF, or for want of memory."""
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        constraint = constraints.make(grammar)
        if constraint is not None:
            constraint.allowed()
    except ValueError:
        os._exit(0)
    except BaseException:
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(0)
