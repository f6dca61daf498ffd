"""Writes a tiny layout of both architectures with its index, and prints one digest of all of it.

    python golden_layout.py FOLDER SEED

The images, their files and their layers are made in an order that SEED gives.
"""

import random
import sys
from pathlib import Path

from small_release import EPOCH, architectures

from packager.digest import Digest
from packager.domain.image_index import indexes_of
from packager.oci.layer import LayerStore
from packager.oci.layout import LayoutWriter


def write(folder: Path, seed: int) -> str:
    machines = ["x86-64-v3", "arm64-v8"]
    random.Random(seed).shuffle(machines)
    store = LayerStore(folder / "store", EPOCH)
    _, built = architectures(*machines)(store)
    writer = LayoutWriter(folder / "images", store.blobs)
    for target in built:
        writer.add_image(target.image)
    for index in indexes_of(built):
        writer.add_artifact(index.artifact)
    writer.close()
    lines = [
        f"{Digest.of_file(path)} {path.stat().st_mode & 0o777:o} {path.relative_to(folder)}"
        for path in sorted((folder / "images").rglob("*"))
        if path.is_file()
    ]
    return str(Digest.of("\n".join(lines).encode()))


if __name__ == "__main__":
    print(write(Path(sys.argv[1]), int(sys.argv[2])))
