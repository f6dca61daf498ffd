"""Reads what strace saw of a process and its children, and tells every attempt to reach out.

A server may accept connections and answer on them. Everything by which a process could reach
somebody on its own begins with one of a few system calls, and each of those is an attempt here,
whether it succeeded or not: `connect` to any address family (AF_UNIX too: that is how glibc asks
nscd), a datagram that carries an address, `sendmmsg` (glibc's resolver), and `io_uring_setup`, by
which calls could be hidden from a tracer. A `sendto` or `sendmsg` without an address writes to a
connection that exists already: one that was accepted, or half of a socket pair.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_CALL = re.compile(r"^(?:(?:\[pid\s+)?(\d+)\]?\s+)?(\w+)\((.*)$")
_NO_ADDRESS = re.compile(r", NULL, (?:0|NULL)(?:\)| <unfinished)")
_ALWAYS = {"connect", "sendmmsg", "io_uring_setup"}


@dataclass(frozen=True)
class Attempt:
    """One system call that tried to reach somebody; `line` as strace wrote it."""

    call: str
    line: str


def attempts(trace: str) -> list[Attempt]:
    """All attempts in the output of `strace -f -e trace=%network,io_uring_setup`."""
    found = []
    for line in trace.splitlines():
        match = _CALL.match(line)
        if match and _reaches_out(match[2], match[3]):
            found.append(Attempt(match[2], line))
    return found


def listened(trace: str) -> bool:
    """Whether the trace saw the server listen and accept: proof that it looked at the server."""
    return " listen(" in f" {trace}" and "accept4(" in trace


def strace(output: Path) -> list[str]:
    """The command line to put before another one; strings of the payload are not recorded.

    With `-D` the process that is started is the traced one, so that signals and the exit code are
    its own; `finished` tells when the trace is complete.
    """
    calls = "trace=%network,io_uring_setup"
    options = ("-D", "-f", "-q", "-s", "0", "-e", calls, "-e", "signal=none")
    return ["strace", *options, "-o", str(output)]


def finished(output: Path, pid: int, seconds: float = 30.0) -> str:
    """The whole trace, once it has recorded the end of `pid`; raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        trace = output.read_text()
        if re.search(rf"^{pid} +\+\+\+ (exited|killed)", trace, re.MULTILINE):
            return trace
        time.sleep(0.05)
    raise TimeoutError(f"the trace in {output} does not record the end of process {pid}")


def why_not_traceable() -> str | None:
    """Why a process cannot be traced here; None when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    probe: Sequence[str] = ["strace", "-f", "-qq", "-e", "trace=%network", "true"]
    tried = subprocess.run(probe, capture_output=True, text=True, check=False, timeout=30)
    return None if tried.returncode == 0 else f"strace is refused: {tried.stderr.strip()[:200]}"


def _reaches_out(call: str, arguments: str) -> bool:
    if call in _ALWAYS:
        return True
    if call == "sendto":
        return not _NO_ADDRESS.search(arguments)
    if call == "sendmsg":
        return "msg_name=NULL" not in arguments
    return False
