"""Makes small real packages and wheels, and a Debian mirror on the loopback that may misbehave."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = Callable[[BaseHTTPRequestHandler], None]


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]], mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def ar_of(members: list[tuple[str, bytes]]) -> bytes:
    out = b"!<arch>\n"
    for name, data in members:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        out += data + b"\n" * (len(data) % 2)
    return out


def deb_of(
    files: list[tuple[tarfile.TarInfo, bytes]], *, name: str = "thing", md5sums: bytes = b""
) -> bytes:
    control = f"Package: {name}\nVersion: 1\nArchitecture: amd64\n\n".encode()
    described = [(member("./control"), control), (member("./md5sums"), md5sums)]
    scripts = [(member("./postinst", mode=0o755), b"#!/bin/sh\nfalse\n")]
    return ar_of(
        [
            ("debian-binary", b"2.0\n"),
            ("control.tar.xz", tar_of(described + scripts, "w:xz")),
            ("data.tar.xz", tar_of(files, "w:xz")),
        ]
    )


def wheel_of(
    path: Path,
    files: dict[str, bytes],
    *,
    requires: tuple[str, ...] = (),
    record: dict[str, bytes] | None = None,
) -> Path:
    """A wheel at `path`; `record` lists other contents than the ones that are packed."""
    name, version = path.name.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: MIT\n"
    metadata += "".join(f"Requires-Dist: {line}\n" for line in requires)
    packed = {
        **files,
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\n",
    }
    lines = []
    for listed, data in {**packed, **(record or {})}.items():
        raw = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        lines.append(f"{listed},sha256={raw},{len(data)}\n")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for listed, data in packed.items():
            archive.writestr(listed, data)
        archive.writestr(f"{info}/RECORD", "".join(lines) + f"{info}/RECORD,,\n")
    return path


class Site:
    """A mirror on the loopback: files by path, or a function that answers as it likes."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | Answer] = {}
        self.asked: list[str] = []
        handler = functools.partial(_Handler, self)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/debian"


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, site: Site, *rest) -> None:
        self.site = site
        super().__init__(*rest)

    def do_GET(self) -> None:
        path = self.path.removeprefix("/debian/")
        self.site.asked.append(path)
        found = self.site.files.get(path)
        if callable(found):
            found(self)
            return
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Length", str(len(found or b"")))
        self.end_headers()
        self.wfile.write(found or b"")

    def log_message(self, *rest) -> None:
        """Quiet."""
