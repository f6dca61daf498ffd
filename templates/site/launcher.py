"""Runs a server that has no network, and carries its callers in from a socket file.

The first process of its container where the engine makes no networks (containerd's ctr): the
server listens on the loopback of an empty namespace; whoever may open FOLDER/server reaches it, and
by FOLDER/grpc its second port, where it has one.
What the server says goes to FOLDER/log, which is begun anew at 10 MB (the one before: log.1).

    python -I -c "$(cat launcher.py)" FOLDER PORT[,GRPC_PORT] COMMAND…

Ends as the server ends; SIGTERM and SIGINT are handed on.
"""

import asyncio
import contextlib
import pathlib
import resource
import signal
import socket
import sys

CHUNK = 256 * 1024
PERIOD_SECONDS = 0.05
MAX_LOG = 10_000_000
CONNECT_SECONDS = 2


async def copy(reader, writer):
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


class Carrier:
    """Each caller gets a connection to the server; one that gets none is closed at once."""

    def __init__(self, port):
        self._port = port

    async def arrived(self, reader, writer):
        try:
            there, to_there = await asyncio.wait_for(
                asyncio.open_connection("127.0.0.1", self._port), CONNECT_SECONDS
            )
        except (TimeoutError, OSError):
            writer.transport.abort()
            return
        to_there.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.gather(copy(reader, to_there), copy(there, writer))
        finally:
            to_there.close()
            writer.close()


async def keep_log(reader, file):
    """What comes, at most MAX_LOG of it and as much of what was before."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(file.open("ab"))
        while data := await reader.read(CHUNK):
            with contextlib.suppress(OSError):  # a full disk ends no server
                if log.tell() > MAX_LOG:
                    log.close()
                    file.replace(file.with_suffix(".1"))
                    log = stack.enter_context(file.open("ab"))
                log.write(data)
                log.flush()


async def open_door(place, port):
    """Callers are let in as soon as the server takes them: the site's door waits for that, where it
    would take a connection that ends at once for a server that ended."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(PERIOD_SECONDS)
            continue
        writer.close()
        return await asyncio.start_unix_server(Carrier(port).arrived, place, limit=CHUNK)


async def main(folder, ports, command):
    """The server's exit status, as a shell tells it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    place = pathlib.Path(folder)
    doors = dict(zip(("server", "grpc"), map(int, ports.split(",")), strict=False))
    for name in doors:
        (place / name).unlink(missing_ok=True)
    server = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.send_signal, number)
    logging = asyncio.create_task(keep_log(server.stdout, place / "log"))
    opening = [asyncio.create_task(open_door(place / name, port)) for name, port in doors.items()]
    status = await server.wait()
    for name, door in zip(doors, opening, strict=True):
        door.cancel()
        (place / name).unlink(missing_ok=True)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(logging, 1)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:])))
