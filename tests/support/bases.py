"""Small bases by hand: real layers of a few files, as a layout, an archive of `docker save`, or in
a registry on the loopback that may misbehave."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import tarfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.oci.docker_media_types import INDEX as DOCKER_INDEX
from packager.oci.docker_media_types import MANIFEST as DOCKER_MANIFEST

STATUS = b"""Package: base-thing
Status: install ok installed
Version: 1.2-3
Architecture: amd64

Package: gone
Status: deinstall ok config-files
Version: 9
Architecture: amd64
"""
Files = dict[str, bytes | str | None]  # bytes: a file; text: a link to it; None: a folder
FILES: Files = {
    "bin": "usr/bin",
    "lib": "usr/lib",
    "etc/os-release": b'ID="debian"\nVERSION_ID="13"\n',
    "etc/ld.so.preload": b"/usr/lib/evil.so\n",
    "etc/ssl/certs/house.pem": b"a certificate of the house\n",
    "usr/lib/python3/dist-packages/spy.pth": b"import spy\n",
    "usr/lib/python3/dist-packages/spy-2.0.dist-info/METADATA": b"Name: spy\nVersion: 2.0\n",
    "usr/lib/python3.13/sitecustomize.py": b"raise SystemExit('taken over')\n",
    "var/lib/dpkg/status": STATUS,
}


def tar_of(files: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


@dataclass
class Blobs:
    """An image by its blobs; `top` is the digest of its index or manifest."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    top: Digest = field(default_factory=lambda: Digest("0" * 64))
    kind: str = MediaType.MANIFEST

    def put(self, data: bytes, media_type: str) -> dict[str, object]:
        digest = Digest.of(data)
        self.blobs[digest.hex] = data
        return {"mediaType": media_type, "digest": str(digest), "size": len(data)}


def image_of(
    layers: Sequence[Files | bytes] = (FILES,),
    architectures: Sequence[str] = ("amd64",),
    *,
    layer_type: str = MediaType.LAYER_GZIP,
    docker: bool = False,
    change_config=lambda config: None,
) -> Blobs:
    """An image, and an index over it when there are more architectures than one."""
    made = Blobs()
    entries = []
    for architecture in architectures:
        tars = [one if isinstance(one, bytes) else tar_of(one) for one in layers]
        packed = [
            gzip.compress(tar, mtime=0) if layer_type.endswith("gzip") else tar for tar in tars
        ]
        config = {
            "os": "linux",
            "architecture": architecture,
            "config": {"Env": ["LD_PRELOAD=/x.so"], "Entrypoint": ["/bin/sh"], "User": "root"},
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(tar)) for tar in tars]},
        }
        change_config(config)
        manifest = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST if docker else MediaType.MANIFEST,
            "config": made.put(json.dumps(config).encode(), MediaType.CONFIG),
            "layers": [made.put(one, layer_type) for one in packed],
        }
        entry = made.put(json.dumps(manifest).encode(), manifest["mediaType"])
        entries.append({**entry, "platform": {"os": "linux", "architecture": architecture}})
    if len(entries) == 1:
        made.top, made.kind = Digest.parse(entries[0]["digest"]), entries[0]["mediaType"]
        return made
    made.kind = DOCKER_INDEX if docker else MediaType.INDEX
    index = {"schemaVersion": 2, "mediaType": made.kind, "manifests": entries}
    made.top = Digest.parse(made.put(json.dumps(index).encode(), made.kind)["digest"])
    return made


def layout_of(image: Blobs, folder: Path) -> Path:
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for name, data in image.blobs.items():
        (blobs / name).write_bytes(data)
    size = len(image.blobs[image.top.hex])
    top = {"mediaType": image.kind, "digest": str(image.top), "size": size}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    return folder


def archive_of(folder: Path, file: Path) -> Path:
    """The layout as one file, as `skopeo copy … oci-archive:FILE` writes it."""
    file.parent.mkdir(exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.add(path, path.relative_to(folder).as_posix())
    return file


def saved_by_docker(files: Files, file: Path) -> Path:
    """As `docker save` wrote it before version 25, with the second layer a link to the first."""
    tar = tar_of(files)
    diff_id = str(Digest.of(tar))
    config = json.dumps(
        {
            "os": "linux",
            "architecture": "amd64",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [diff_id, diff_id]},
        }
    ).encode()
    name = f"{Digest.of(config).hex}.json"
    listed = [{"Config": name, "RepoTags": ["b:1"], "Layers": ["a/layer.tar", "b/layer.tar"]}]
    file.write_bytes(
        tar_of(
            {
                name: config,
                "a/layer.tar": tar,
                "b/layer.tar": "../a/layer.tar",
                "manifest.json": json.dumps(listed).encode(),
            }
        )
    )
    return file


class BaseRegistry(ThreadingHTTPServer):
    """Serves one image as `org/base`; `cut` is after how many bytes a blob breaks off."""

    daemon_threads = True

    def __init__(self, image: Blobs) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.image = image
        self.cut: int | None = None
        self.ranges = True
        self.asked: list[str] = []

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}/org/base"


class _Handler(BaseHTTPRequestHandler):
    server: BaseRegistry

    def do_GET(self) -> None:
        reference = self.path.rpartition("/")[2]
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.server.asked.append(f"{self.path.split('/')[-2]}/{reference[:14]} {start}")
        image = self.server.image
        data = image.blobs.get(image.top.hex if reference == "1" else reference[7:])
        if data is None:
            self.send_error(404)
            return
        part = bool(start) and self.server.ranges
        body = data[start:] if part else data
        self.send_response(206 if part else 200)
        kind = json.loads(data)["mediaType"] if "/manifests/" in self.path else "x/y"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = self.server.cut if "/blobs/" in self.path else None
        self.wfile.write(body[:cut])

    def log_message(self, *_) -> None:
        pass


@contextlib.contextmanager
def base_registry(image: Blobs) -> Iterator[BaseRegistry]:
    server = BaseRegistry(image)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
