"""Starts a process of ours beside the server, with a channel that nobody else can reach."""

from __future__ import annotations

import asyncio
import os
import socket
import sys


async def spawn(program: str, *arguments: str) -> tuple[asyncio.subprocess.Process, socket.socket]:
    """`python -m packager_runtime.generative.PROGRAM FD ARGUMENTS…`, and our end of the channel
    whose other end is FD. Telemetry is off before anything is imported there."""
    ours, theirs = socket.socketpair()
    package = __package__ or "packager_runtime.generative"
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", f"{package}.{program}"),
            *(str(theirs.fileno()), *arguments),
            pass_fds=(theirs.fileno(),),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours
