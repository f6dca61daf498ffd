"""What a base tells about itself, and what of it would change how our programs run.

All our layers go on top of a base: the system's libraries, Python, the server. So what the base has
at the same paths is hidden, and what would still reach into our programs is cleared away by name
(docs/adr/0008): what the dynamic linker loads or looks up before our folders, and what Python runs
or imports before our modules. A base whose folders are laid out otherwise is refused, because
putting our links there would hide its programs and libraries without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from packager.archive import Entry
from packager.assemble.image_paths import MERGED
from packager.assemble.model_files import MODEL_ROOT
from packager.assemble.recipe import PYTHON
from packager.assemble.stanzas import stanzas
from packager.canonical import dumps
from packager.content import Compression, LayerContent
from packager.digest import Digest
from packager.domain.base import Base, BaseContents, BasePackage, BaseTree, Leaf
from packager.errors import Finding, LockError

RULES = 1  # grows when the same base would be told or cleared otherwise

_STATUS = "var/lib/dpkg/status"
_STATUS_FOLDER = "var/lib/dpkg/status.d"
_APK = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_RPM = ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm")
_OS_RELEASE = ("etc/os-release", "usr/lib/os-release")
_WHEEL = re.compile(
    r"(?P<folder>.*/(?:site|dist)-packages)/(?P<name>[A-Za-z0-9._]+)-(?P<version>[^/-]+)"
    r"\.(?:dist-info/METADATA|egg-info/PKG-INFO|egg-info)"
)

# Folders that are ours alone: whatever a base has in them would be mixed with what we put there.
_OURS = (f"usr/lib/python{PYTHON}", f"usr/local/lib/python{PYTHON}", MODEL_ROOT)
_IN_THE_WAY = (
    "etc/ld.so.preload",  # libraries that are loaded into every program
    "etc/ld.so.cache",  # places of libraries, looked up before the folders that ours are in
    "usr/bin/pyvenv.cfg",  # makes Python believe that it stands in a virtual environment
    "usr/pyvenv.cfg",
    f"usr/lib/python{PYTHON.replace('.', '')}.zip",  # the first place where Python imports from
    "usr/lib/glibc-hwcaps",  # libraries for newer processors, which win over ours
    "usr/lib/x86_64-linux-gnu/glibc-hwcaps",
    "usr/lib/aarch64-linux-gnu/glibc-hwcaps",
)
_DEBIAN_MODULES = "usr/lib/python3/dist-packages"  # Debian's Python looks there as well
_RUN_AT_START = re.compile(r"[^/]+\.pth|(site|user)customize(\.py|/.*)")
# Where our layers put folders; a link or a file there would be replaced, with all that it leads to.
_FOLDERS = (
    "dev", "etc", "opt", "proc", "run", "sys", "tmp", "usr", "usr/bin", "usr/lib", "usr/local",
    "usr/local/lib", "usr/sbin", "usr/share", "var", "var/lib", "var/lib/dpkg",
    "var/lib/dpkg/status.d", "var/tmp",
)  # fmt: skip


def wanted(path: str) -> bool:
    """Whether `contents_of` reads the bytes of the file at `path`."""
    return path in (_STATUS, *_APK, *_OS_RELEASE) or (
        path.startswith(f"{_STATUS_FOLDER}/") and not path.endswith(".md5sums")
    )


def contents_of(tree: BaseTree, name: str) -> BaseContents:
    """Packages, what is cleared, and the distribution. Raises LockError for a base of another
    layout of folders, with all that is wrong."""
    if findings := [*_misplaced(tree, name)]:
        raise LockError.of(findings)
    distribution = _distribution(tree)
    cleared = tuple(sorted(_cleared(tree)))
    debian, records = _debian(tree, distribution)
    alpine = [package for path in _APK for package in _alpine(_text(tree, path), distribution)]
    records += [path for path in _APK if _text(tree, path)]
    wheels = [one for path, _ in tree.below("") if (one := _wheel(path, cleared))]
    return BaseContents(
        packages=tuple(sorted({*debian, *alpine, *wheels})),
        records=tuple(records),
        unread=tuple(path for path in _RPM if any(tree.below(path))),
        cleared=cleared,
        distribution=distribution,
    )


def clearing_layer(contents: BaseContents, compression: Compression) -> LayerContent | None:
    """The layer between base and ours: whiteouts (image-spec, "Whiteouts") of what is cleared."""
    if not contents.cleared:
        return None
    return LayerContent(
        "base-cleared",
        Digest.of(dumps(["base-cleared", *contents.cleared])),
        compression,
        "packager: what of the base would reach into the server is hidden",
        lambda: _whiteouts(contents),
    )


def base_record(base: Base) -> dict[str, object]:
    """For `evidence/images/`: what the image stands on, what of it was read, hidden, not taken."""
    contents = base.contents
    return {
        "name": base.layers.name,
        "digest": str(base.layers.digest),
        "manifest": str(base.layers.manifest),
        "layers": [str(layer.descriptor.digest) for layer in base.layers.layers],
        "distribution": contents.distribution or None,
        "packages": len(contents.packages),
        "packages_read_from": list(contents.records),
        "packages_not_read_from": list(contents.unread),
        "packages_complete": contents.complete,
        "hidden": list(contents.cleared),
        "settings_not_taken": list(base.layers.not_taken),
    }


def _whiteouts(contents: BaseContents) -> list[Entry]:
    return [
        Entry.of_bytes(
            f"{path}/.wh..wh..opq"
            if path in _OURS
            else "/".join([*path.split("/")[:-1], f".wh.{path.rpartition('/')[2]}"]),
            b"",
        )
        for path in contents.cleared
    ]


def _misplaced(tree: BaseTree, name: str) -> Iterator[Finding]:
    for path in MERGED:
        node = tree.at(path)
        if isinstance(node, dict) and node:
            yield Finding(
                f"the base has a folder /{path} where Debian 13 has a link to /usr/{path}",
                where=name,
                expected=f"/{path} is a link to usr/{path}, or is not there",
                got=f"a folder with {len(node)} entries, which our link would hide",
                next_step="name a base with a merged /usr: Debian 12, Ubuntu 20.04, RHEL 7 …",
            )
        if isinstance(node, Leaf) and node.target not in (f"usr/{path}", f"/usr/{path}"):
            yield Finding(
                f"the base's /{path} is no link to /usr/{path}",
                where=name,
                expected=f"a link to usr/{path}",
                got=repr(node.target)[:200],
            )
    for path in _FOLDERS:
        node = tree.at(path)
        if isinstance(node, Leaf):
            yield Finding(
                f"the base's /{path} is no folder, and our layers put files into it",
                where=name,
                expected="a folder",
                got=f"a link to {node.target[:200]!r}" if node.target else "a file",
                next_step="name another base",
            )


def _cleared(tree: BaseTree) -> Iterator[str]:
    for path in _OURS:
        node = tree.at(path)
        if isinstance(node, Leaf) or node:
            yield path
    for path in _IN_THE_WAY:
        if tree.at(path) is not None:
            yield path
    modules = tree.at(_DEBIAN_MODULES)
    for name in modules if isinstance(modules, dict) else ():
        if _RUN_AT_START.fullmatch(name) or name in ("sitecustomize", "usercustomize"):
            yield f"{_DEBIAN_MODULES}/{name}"


def _text(tree: BaseTree, path: str) -> str:
    node = tree.at(path)
    if isinstance(node, Leaf) and node.content is not None:
        return node.content.decode("utf-8", "replace")
    return ""


def _distribution(tree: BaseTree) -> str:
    for path in _OS_RELEASE:
        for line in _text(tree, path).splitlines():
            if line.startswith("ID="):
                found = line.removeprefix("ID=").strip("\"' ").lower()
                return found if re.fullmatch(r"[a-z0-9._-]{1,60}", found) else ""
    return ""


def _debian(tree: BaseTree, distribution: str) -> tuple[list[BasePackage], list[str]]:
    """From the one list of an installed Debian, and from the files that distroless images have."""
    paths = [_STATUS, *(path for path, _ in tree.below(_STATUS_FOLDER))]
    read = [path for path in paths if not path.endswith(".md5sums") and _text(tree, path)]
    found = [
        BasePackage(
            "deb",
            fields["package"],
            fields["version"],
            fields.get("architecture", ""),
            distribution or "debian",
        )
        for path in read
        for fields in stanzas(_text(tree, path))
        if "package" in fields
        and "version" in fields
        and fields.get("status", "install ok installed").endswith(" installed")
    ]
    records = [_STATUS] if _STATUS in read else []
    return found, records + ([_STATUS_FOLDER] if any(path != _STATUS for path in read) else [])


def _alpine(text: str, distribution: str) -> Iterator[BasePackage]:
    """apk's database: one letter and a colon a line, an empty line between packages."""
    for block in text.split("\n\n"):
        fields = dict(line.split(":", 1) for line in block.splitlines() if line[1:2] == ":")
        if "P" in fields and "V" in fields:
            yield BasePackage(
                "apk", fields["P"], fields["V"], fields.get("A", ""), distribution or "alpine"
            )


def _wheel(path: str, cleared: tuple[str, ...]) -> BasePackage | None:
    found = _WHEEL.fullmatch(path)
    if not found or any(path.startswith(f"{folder}/") for folder in cleared):
        return None
    return BasePackage("pypi", found["name"], found["version"].split("-py")[0])
