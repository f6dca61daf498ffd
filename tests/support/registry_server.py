"""A `MemoryRegistry` behind HTTP, as far as reading goes: what an enemy's registry answers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from memory_registry import MemoryRegistry

from packager.domain.artifact import MediaType


@contextlib.contextmanager
def serving(registry: MemoryRegistry) -> Iterator[str]:
    """`127.0.0.1:port`, where each repository is this one."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            kind, _, name = self.path.rpartition("/")
            kind = kind.rpartition("/")[2]
            found = {
                "manifests": registry.manifests,
                "blobs": registry.blobs,
                "referrers": registry.index,
            }.get(kind, {}).get(name)
            self.send_response(404 if found is None else 200)
            data = found or b""
            media_type = MediaType.INDEX if kind == "referrers" else MediaType.MANIFEST
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Whoever has seen enough hangs up."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
