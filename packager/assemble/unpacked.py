"""An entry's bytes as memory, also when they are hundreds of megabytes inside a wheel."""

from __future__ import annotations

import mmap
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from packager.archive import Entry
from packager.digest import CHUNK
from packager.workspace import cache_folder, telling_output_errors


@contextmanager
def unpacked(entry: Entry) -> Iterator[mmap.mmap | bytes]:
    """Map the entry's content; the scratch file behind it has no name and goes with the block."""
    if entry.open is None or not entry.size:
        yield b""
        return
    folder = cache_folder()
    with telling_output_errors(folder), tempfile.TemporaryFile(dir=folder) as scratch:
        with entry.open() as source:
            shutil.copyfileobj(source, scratch, CHUNK)
        scratch.flush()
        with mmap.mmap(scratch.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
