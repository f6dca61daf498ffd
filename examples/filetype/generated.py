"""Small real files of many kinds, made with the standard library alone, the same at each run.

They fill the gaps of what a Python installation carries: images, sound, archives, documents, data.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import struct
import tarfile
import wave
import zipfile
import zlib
from collections.abc import Callable, Iterator

WORDS = [
    "river",
    "stone",
    "window",
    "market",
    "garden",
    "letter",
    "bridge",
    "winter",
    "copper",
    "signal",
    "harbour",
    "meadow",
    "engine",
    "candle",
    "forest",
    "mirror",
    "ladder",
    "orange",
    "pepper",
    "velvet",
]
VARIANTS = 24


def generated_files() -> Iterator[tuple[str, bytes]]:
    """(name, content), `VARIANTS` of each kind."""
    for kind, make in sorted(MAKERS.items()):
        for variant in range(VARIANTS):
            yield f"{kind}-{variant}.{kind}", make(random.Random(f"{kind}-{variant}"))


def png(r: random.Random) -> bytes:
    width, height = r.randint(8, 64), r.randint(8, 64)
    rows = b"".join(b"\0" + r.randbytes(3 * width) for _ in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(rows)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def bmp(r: random.Random) -> bytes:
    width, height = 4 * r.randint(2, 16), r.randint(8, 64)
    pixels = r.randbytes(3 * width * height)
    header = struct.pack("<2sIHHI", b"BM", 54 + len(pixels), 0, 0, 54)
    return header + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0) + pixels


def gif(r: random.Random) -> bytes:
    palette = r.randbytes(12)
    frame = b"\x2c\0\0\0\0\x02\0\x02\0\0\x02\x03\x44\x02\x05\0"
    return b"GIF89a\x02\0\x02\0\x91\0\0" + palette + frame + b"\x3b"


def wav(r: random.Random) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(r.randbytes(2 * r.randint(500, 4000)))
    return stream.getvalue()


def pdf(r: random.Random) -> bytes:
    text = f"BT /F1 12 Tf 72 720 Td ({prose(r, 12)}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 6\n0000000000 65535 f \n"
    trailer = b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(out)
    return out + head + table + trailer


def zip_(r: random.Random) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for position in range(r.randint(1, 5)):
            archive.writestr(zipfile.ZipInfo(f"{r.choice(WORDS)}{position}.txt"), prose(r, 80))
    return stream.getvalue()


def tar(r: random.Random) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for position in range(r.randint(1, 4)):
            data = prose(r, 120).encode()
            member = tarfile.TarInfo(f"{r.choice(WORDS)}{position}.txt")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def table(r: random.Random) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["id", "name", "amount", "city"])
    for line in range(r.randint(10, 60)):
        writer.writerow([line, r.choice(WORDS), round(r.uniform(1, 900), 2), r.choice(WORDS)])
    return stream.getvalue().encode()


def html(r: random.Random) -> bytes:
    items = "\n".join(f"  <li><a href='#{w}'>{prose(r, 6)}</a></li>" for w in r.sample(WORDS, 5))
    return (
        f"<!DOCTYPE html>\n<html lang='en'><head><title>{prose(r, 3)}</title></head>\n"
        f"<body><h1>{prose(r, 4)}</h1>\n<ul>\n{items}\n</ul><p>{prose(r, 60)}</p></body></html>\n"
    ).encode()


def xml(r: random.Random) -> bytes:
    rows = "\n".join(f"  <item id='{n}'><name>{prose(r, 2)}</name></item>" for n in range(12))
    return f"<?xml version='1.0' encoding='UTF-8'?>\n<catalog>\n{rows}\n</catalog>\n".encode()


def json_(r: random.Random) -> bytes:
    rows = [
        {"name": r.choice(WORDS), "value": r.random(), "tags": r.sample(WORDS, 3)} for _ in "12345"
    ]
    return json.dumps({"rows": rows, "total": len(rows)}, indent=r.choice([None, 2])).encode()


def yaml(r: random.Random) -> bytes:
    entries = "".join(
        f"- name: {r.choice(WORDS)}\n  replicas: {r.randint(1, 9)}\n"
        f"  labels: [{', '.join(r.sample(WORDS, 2))}]\n"
        for _ in range(8)
    )
    return f"apiVersion: v1\nkind: List\nitems:\n{entries}".encode()


def ini(r: random.Random) -> bytes:
    return "".join(
        f"[{section}]\n{r.choice(WORDS)} = {r.randint(0, 99)}\npath = /srv/{section}\n\n"
        for section in r.sample(WORDS, 6)
    ).encode()


def sql(r: random.Random) -> bytes:
    name = r.choice(WORDS)
    rows = "".join(
        f"INSERT INTO {name} (id, label) VALUES ({n}, '{prose(r, 3)}');\n" for n in range(12)
    )
    return f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, label TEXT NOT NULL);\n{rows}".encode()


def shell(r: random.Random) -> bytes:
    lines = "".join(
        f'for f in /srv/{w}/*.log; do\n  gzip -9 "$f" || exit {n}\ndone\n'
        for n, w in enumerate(r.sample(WORDS, 5), start=1)
    )
    return f"#!/bin/sh\nset -eu\n{lines}echo done\n".encode()


def prose(r: random.Random, count: int) -> str:
    return " ".join(r.choice(WORDS) for _ in range(count))


MAKERS: dict[str, Callable[[random.Random], bytes]] = {
    "bmp": bmp,
    "bz2": lambda r: bz2.compress(r.randbytes(r.randint(200, 4000))),
    "csv": table,
    "gif": gif,
    "gz": lambda r: gzip.compress(r.randbytes(r.randint(200, 4000)), mtime=0),
    "html": html,
    "ini": ini,
    "json": json_,
    "pdf": pdf,
    "png": png,
    "sh": shell,
    "sql": sql,
    "tar": tar,
    "txt": lambda r: prose(r, r.randint(40, 400)).encode(),
    "wav": wav,
    "xml": xml,
    "xz": lambda r: lzma.compress(r.randbytes(r.randint(200, 4000))),
    "yaml": yaml,
    "zip": zip_,
}
