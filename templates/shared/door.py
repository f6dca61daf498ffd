# The door: copies bytes between a client and the server, and knows nothing of what they mean.
# Arguments: the server's address and port; where to listen (an address and a port, or `passed` and
# the number of a socket that systemd opened); seconds that open connections get at the end; and for
# each further port of the server, that port and where to listen.
import asyncio
import functools
import signal
import socket
import sys

HOST, PORT, ADDRESS, NUMBER, DRAIN, *MORE = sys.argv[1:]
PAIRS = [(PORT, NUMBER), *zip(MORE[::2], MORE[1::2], strict=True)]
open_now = set()


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


async def forward(port, reader, writer):
    open_now.add(asyncio.current_task())
    asyncio.current_task().add_done_callback(open_now.discard)
    try:
        there = await asyncio.open_connection(HOST, port, family=socket.AF_INET)
    except OSError:
        writer.transport.abort()
        return
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))
    there[1].close()
    writer.close()


async def listen(port, number):
    there = functools.partial(forward, int(port))
    if ADDRESS == "passed":
        return await asyncio.start_server(there, sock=socket.socket(fileno=int(number)))
    return await asyncio.start_server(there, ADDRESS, int(number))


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    servers = [await listen(port, number) for port, number in PAIRS]
    await stop.wait()
    for server in servers:
        server.close()
    if open_now:
        await asyncio.wait(open_now, timeout=float(DRAIN))


asyncio.run(main())
