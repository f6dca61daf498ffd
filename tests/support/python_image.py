"""An image that holds this machine's Python at the place where release images hold theirs.

It lets a rendered Compose file start for real, health check and door included, without building a
release. The server in it answers like the runtime's health endpoints, and tells from within whom it
can reach.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

INTERPRETER = "/usr/bin/python3.13"
_LEFT_OUT = {"test", "site-packages", "__pycache__", "idlelib", "tkinter", "ensurepip"}

SERVER = r"""
import json, os, signal, socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def reach(address, port):
    with socket.socket() as attempt:
        attempt.settimeout(5)
        return attempt.connect_ex((address, int(port)))

class Probe(BaseHTTPRequestHandler):
    def do_GET(self):
        _, what, *arguments = self.path.split("/")
        told = {"v2": lambda *_: True, "reach": reach, "environment": self.environment}
        answer = json.dumps(told[what](*arguments)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def environment(self):
        return dict(os.environ)

    def log_message(self, *arguments):
        pass

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
ThreadingHTTPServer(("0.0.0.0", 8080), Probe).serve_forever()
"""


def import_python_image(reference: str, folder: Path) -> None:
    """Give the Docker engine of this machine the image, under `reference`."""
    archive = python_archive(folder)
    change = f"ENTRYPOINT {json.dumps(python_entrypoint())}"
    subprocess.run(
        ["docker", "import", "--change", change, archive, reference],
        check=True,
        capture_output=True,
    )
    archive.unlink()


def python_entrypoint() -> list[str]:
    """The command that starts the server in the image."""
    return [INTERPRETER, "-I", "-c", SERVER]


def python_archive(folder: Path) -> Path:
    """The image's files as one tar, for an engine to import."""
    archive = folder / "python.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sorted(python_files()):
            tar.add(os.path.realpath(path), arcname=path.lstrip("/"), recursive=False)
        link = tarfile.TarInfo(INTERPRETER.lstrip("/"))
        link.type, link.linkname = tarfile.SYMTYPE, os.path.realpath(sys.executable)
        tar.addfile(link)
    return archive


def python_files() -> set[str]:
    """The interpreter, its standard library, and the shared libraries of both."""
    interpreter = os.path.realpath(sys.executable)
    found = {interpreter}
    for root, folders, names in os.walk(sysconfig.get_path("stdlib")):
        folders[:] = [
            name for name in folders if name not in _LEFT_OUT and not name.startswith("config-")
        ]
        found.update(os.path.join(root, name) for name in names)  # noqa: PTH118
    for path in list(found):
        if path == interpreter or ".so" in Path(path).name:
            listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
            found.update(re.findall(r"(/\S+) \(0x", listed.stdout))
    return found
