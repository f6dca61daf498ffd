# The door: copies bytes between a client and the server, and knows nothing of what they mean.
# Arguments: the server's address and port; where to listen (an address and a port, or `passed` and
# the number of a socket that systemd opened); seconds that open connections get at the end.
import asyncio
import signal
import socket
import sys

HOST, PORT, ADDRESS, NUMBER, DRAIN = sys.argv[1:6]
open_now = set()


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


async def forward(reader, writer):
    open_now.add(asyncio.current_task())
    asyncio.current_task().add_done_callback(open_now.discard)
    try:
        there = await asyncio.open_connection(HOST, int(PORT), family=socket.AF_INET)
    except OSError:
        writer.transport.abort()
        return
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))
    there[1].close()
    writer.close()


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    if ADDRESS == "passed":
        server = await asyncio.start_server(forward, sock=socket.socket(fileno=int(NUMBER)))
    else:
        server = await asyncio.start_server(forward, ADDRESS, int(NUMBER))
    await stop.wait()
    server.close()
    if open_now:
        await asyncio.wait(open_now, timeout=float(DRAIN))


asyncio.run(main())
