"""Files of the system that no package brings: links, users, mount points, the package records.

Debian's maintainer scripts would make them; here they are written out.
"""

from __future__ import annotations

from collections.abc import Iterable

from packager.archive import Entry
from packager.assemble.debian_archive import DebianArchive
from packager.domain.lock import LockedPackage

USER = "65532:65532"
_USERS = (
    "root:x:0:0:root:/root:/usr/sbin/nologin\n"
    "nonroot:x:65532:65532:nonroot:/nonexistent:/usr/sbin/nologin\n"
)
_GROUPS = "root:x:0:\nnonroot:x:65532:\n"
_NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\n"
_MOUNT_POINTS = ("dev", "proc", "run", "sys", "tmp", "var/tmp")
_LINKED = ("usr/bin", "usr/lib", "usr/sbin")
# Links of a merged /usr. The loader's folder has another name on each architecture.
_LINKS = {"amd64": ("bin", "lib", "lib64", "sbin"), "arm64": ("bin", "lib", "sbin")}


def system_entries(architecture: str) -> list[Entry]:
    """Links into /usr, root and nonroot (65532, as distroless has it), empty mount points."""
    return [
        *(Entry.symlink(name, f"usr/{name}") for name in _LINKS[architecture]),
        *(Entry.directory(name) for name in (*_LINKED, *_MOUNT_POINTS)),
        Entry.of_bytes("etc/group", _GROUPS.encode()),
        Entry.of_bytes("etc/nsswitch.conf", _NSSWITCH.encode()),
        Entry.of_bytes("etc/passwd", _USERS.encode()),
    ]


def status_entries(
    package: LockedPackage, archive: DebianArchive, kept: Iterable[Entry]
) -> list[Entry]:
    """The package's record as distroless images carry it, which scanners read.

    `status.d/<name>` is the control file as Debian wrote it; `<name>.md5sums` lists the files that
    are in the image, and only these.
    """
    paths = sorted(entry.path for entry in kept if entry.path in archive.md5sums)
    sums = "".join(f"{archive.md5sums[path]}  {path}\n" for path in paths)
    folder = "var/lib/dpkg/status.d"
    return [
        Entry.of_bytes(f"{folder}/{package.name}", archive.control.rstrip(b"\n") + b"\n"),
        Entry.of_bytes(f"{folder}/{package.name}.md5sums", sums.encode()),
    ]
