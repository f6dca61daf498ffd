"""Small bundles for tests, and what harms them."""

from __future__ import annotations

import io
import stat
import tarfile
from pathlib import Path

from small_release import SmallRelease

from packager import pipeline
from packager.bundle.bundling import Bundled
from packager.bundle.composing import member_name
from packager.domain.target import TargetName
from packager.domain.trust import TrustFiles
from packager.progress import SILENT


def trusting(release: SmallRelease) -> TrustFiles:
    """Believing the release's own key."""
    return TrustFiles((release.public_file,))


def make_bundle(release: SmallRelease, output: Path, *targets: str) -> Bundled:
    """A bundle by the product's own door."""
    chosen = [TargetName.parse(target) for target in targets]
    return pipeline.bundle(release.folder, trusting(release), output, chosen, SILENT)


def entries(bundle: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    """What Python's tar reader finds."""
    with tarfile.open(bundle, "r:") as archive:
        found = []
        for member in archive:
            source = archive.extractfile(member)
            found.append((member, source.read() if source else b""))
        return found


def write_entries(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    """A tar of whatever members, by Python's writer, with the end that ours has."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for member, data in members:
            archive.addfile(member, io.BytesIO(data) if member.isreg() else None)
    body = stream.getvalue()[: _end(members)]
    path.write_bytes(body + bytes(1024))


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""):
    """A member as the product writes them, or of another kind."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.type = kind
    info.linkname = link
    info.mode = 0o644
    return info, data


def _end(members: list[tuple[tarfile.TarInfo, bytes]]) -> int:
    return sum(512 + len(data) + -len(data) % 512 for _, data in members)


def packed_as_is(
    folder: Path, found: list[tuple[tarfile.TarInfo, bytes]]
) -> list[tuple[tarfile.TarInfo, bytes]]:
    """A folder as somebody packs it who does not check: links as links, in the order of `found`,
    which is a good bundle of it; what a bundle has beside the release is taken from there."""
    order = {info.name: number for number, (info, _) in enumerate(found)}
    members = {info.name: (info, data) for info, data in found if not _of_release(info.name)}
    for path in sorted(folder.rglob("*")):
        name = member_name(path.relative_to(folder).as_posix())
        shown = path.lstat().st_mode
        if stat.S_ISLNK(shown):
            members[name] = member(name, kind=tarfile.SYMTYPE, link=str(path.readlink()))
        elif stat.S_ISREG(shown):
            members[name] = member(name, path.read_bytes())
        elif not stat.S_ISDIR(shown):
            members[name] = member(name, kind=tarfile.FIFOTYPE)
        elif not any(path.iterdir()):
            members[name] = member(name, kind=tarfile.DIRTYPE)
    return [members[name] for name in sorted(members, key=lambda each: order.get(each, 1 << 30))]


def _of_release(name: str) -> bool:
    return name not in ("bundle.json", "oci-layout", "index.json", "manifest.json")
