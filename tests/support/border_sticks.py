"""What somebody brings to a site: releases with a harm done to them, on each kind of medium.

`Makers` is one maker's work: a release, the one before it, and both as bundles and a delta. A harm
is done to a copy of the folder, which is then packed by somebody who does not check; the parts of
such a bundle have a list of their own that is validly signed, so that what is wrong lies inside.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import small_release
from bundles import entries, make_bundle, packed_as_is, trusting, write_entries
from inner_faults import FAULTS
from small_release import SmallRelease, build_targets, make_release
from tamper_matrix import ENTRIES
from tampering import PROBES
from weights import fine_tuned, initializers

from packager import pipeline
from packager.attest import sigstore
from packager.attest.keys import Signer, generate_key, open_signer
from packager.bundle.parts_document import CHECKSUMS, INDEX, RAW_SIGNATURE, SIGSTORE, PartsDocument
from packager.bundle.parts_document import part_name as name_of_part
from packager.domain.release import BuiltTarget, ReleaseRequest
from packager.progress import SILENT
from packager.render.installer import NAME as INSTALLER
from packager.render.rendering import render_target

NAME = "stick"
PART = 96 << 10
_DELTA = "delta/"
Members = list[tuple[tarfile.TarInfo, bytes]]
_write_manifest = small_release._write_manifest


def brings_installer(folder: Path, target: BuiltTarget, request: ReleaseRequest) -> None:
    """Each target's manifest, and the installer where there is one."""
    _write_manifest(folder, target, request)
    rendered = render_target(target, request)
    if INSTALLER in rendered:
        (folder / target.folder / INSTALLER).write_bytes(rendered[INSTALLER])


@dataclass(frozen=True)
class Stick:
    """What is given to a door, and what a delta there stands on."""

    path: Path
    base: Path | None = None


@dataclass(frozen=True)
class Makers:
    """A release that nobody harmed, and the one before it; made below `base`.

    Heavy ones have weights that a delta rebuilds. A whole bundle of them cannot be packed anew by
    Python's tar, which does not align big files as ours are (docs/bundle.md).
    """

    base: Path
    heavy: bool = False

    @cached_property
    def old(self) -> SmallRelease:
        return self._release("1.3.0", 0.0, None)

    @cached_property
    def good(self) -> SmallRelease:
        return self._release("1.4.0", 0.1, self.old.key_file)

    @cached_property
    def old_bundle(self) -> Path:
        make_bundle(self.old, self.base / "old.tar")
        return self.base / "old.tar"

    @cached_property
    def members(self) -> Members:
        make_bundle(self.good, self.base / "good.tar")
        return entries(self.base / "good.tar")

    @cached_property
    def delta_members(self) -> Members:
        delta = self.base / "delta.tar"
        trust = trusting(self.good)
        pipeline.bundle(self.good.folder, trust, delta, [], SILENT, delta_from=self.old.folder)
        return entries(delta)

    @cached_property
    def stranger(self) -> Path:
        """The private key of somebody else."""
        return generate_key(self.base / "stranger.pem", None).private

    def _release(self, version: str, share: float, key: Path | None) -> SmallRelease:
        weights = b"".join(fine_tuned(initializers(5 << 18 if self.heavy else 1 << 18), share)[0])
        (self.base / version).mkdir(parents=True)
        return make_release(
            self.base / version,
            version=version,
            key_file=key,
            manifests=brings_installer,
            build=partial(build_targets, weights=weights),
        )

    def copied(self, into: Path) -> SmallRelease:
        """A copy of the good one, to do harm to."""
        shutil.copytree(self.good.folder, into / "release")
        return replace(self.good, folder=into / "release")

    def packed(self, medium: str, folder: Path, into: Path) -> Stick:
        """A folder of a release, whatever is wrong with it, on a medium."""
        if medium == "folder":
            return Stick(folder)
        if medium == "delta":
            return self.tar(medium, self._delta_of(folder), into)
        return self.tar(medium, packed_as_is(folder, self.members), into)

    def tar(self, medium: str, members: Members, into: Path) -> Stick:
        """Members as a bundle, as validly signed parts of one, or as a delta."""
        path = into / "release.tar"
        write_entries(path, members)
        if medium == "parts":
            index = cut(path.read_bytes(), into / NAME, self.good.signer)
            path.unlink()
            return Stick(index)
        return Stick(path, self.old_bundle if medium == "delta" else None)

    def good_members(self, medium: str) -> Members:
        return list(self.delta_members if medium == "delta" else self.members)

    def _delta_of(self, folder: Path) -> Members:
        """What the good delta brings, from that folder, and what was added to it."""
        whole = {info.name: data for info, data in self.members}
        brought = {info.name: (info, data) for info, data in self.delta_members}
        rebuilt = {f"blobs/sha256/{Path(name).stem}" for name in brought if _DELTA in name}
        found: Members = []
        for info, data in packed_as_is(folder, self.delta_members):
            as_ever = info.isreg() and data == whole.get(info.name)
            if info.name in brought or not (as_ever or info.name in rebuilt):
                found.append((info, data))
        found += [one for name, one in brought.items() if _DELTA in name]
        order = {name: number for number, name in enumerate(brought)}
        return sorted(found, key=lambda one: order.get(one[0].name, len(order)))


def cut(data: bytes, folder: Path, signer: Signer, size: int = PART) -> Path:
    """Parts of whatever bytes, with a list that is signed; the path of its index."""
    folder.mkdir(parents=True)
    name = folder.name
    paths = []
    for number, start in enumerate(range(0, len(data), size)):
        paths.append(folder / name_of_part(name, number))
        paths[-1].write_bytes(data[start : start + size])
    document = PartsDocument.of(name, len(data), paths, SILENT)
    sign_list(folder, document.as_bytes(), signer)
    (folder / f"{name}{CHECKSUMS}").write_bytes(document.checksums())
    return folder / f"{name}{INDEX}"


def sign_list(folder: Path, index: bytes, signer: Signer) -> None:
    """The index of parts as `index`, signed."""
    (folder / f"{folder.name}{INDEX}").write_bytes(index)
    (folder / f"{folder.name}{SIGSTORE}").write_bytes(sigstore.message_bundle(index, signer))
    (folder / f"{folder.name}{RAW_SIGNATURE}").write_bytes(signer.sign(index))


HARMS = {probe.name: probe.harm for probe in PROBES}
MADE = {fault.name: fault.make for fault in FAULTS}


def harmed(makers: Makers, name: str, medium: str, into: Path) -> Stick:
    """A probe of the tamper matrix of `verify`."""
    copy = makers.copied(into)
    HARMS[name](copy)
    return makers.packed(medium, copy.folder, into)


def signed_and_wrong(makers: Makers, name: str, into: Path, monkeypatch) -> SmallRelease:
    """A release with a fault that the maker's own key signed; its installer is in it."""
    monkeypatch.setattr(small_release, "_write_manifest", brings_installer)
    return MADE[name](into / "made", makers.good.key_file)


def entry_too_many(makers: Makers, name: str, medium: str, into: Path) -> Stick:
    return makers.tar(medium, [*makers.good_members(medium), ENTRIES[name]], into)


# --- parts


def parts_gone_wrong(makers: Makers, name: str, into: Path) -> Stick:
    index = makers.tar("parts", makers.good_members("parts"), into).path
    PARTS_HARMS[name](makers, index.parent)
    return Stick(index)


def _part(folder: Path, number: int) -> Path:
    return folder / name_of_part(folder.name, number - 1)


def _swap(makers: Makers, folder: Path) -> None:
    first, second = _part(folder, 1), _part(folder, 2)
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _linked(makers: Makers, folder: Path) -> None:
    _part(folder, 2).unlink()
    _part(folder, 2).symlink_to(_part(folder, 1))


def _older_part(makers: Makers, folder: Path) -> None:
    older = cut(makers.old_bundle.read_bytes(), folder.parent / "old" / NAME, makers.good.signer)
    shutil.copyfile(_part(older.parent, 1), _part(folder, 1))  # release.json lies in it


def _other_order(makers: Makers, folder: Path) -> None:
    listed = folder / f"{folder.name}{CHECKSUMS}"
    lines = listed.read_text().splitlines(keepends=True)
    listed.write_text("".join([lines[1], lines[0], *lines[2:]]))


def _by_stranger(makers: Makers, folder: Path) -> None:
    index = (folder / f"{folder.name}{INDEX}").read_bytes()
    sign_list(folder, index, open_signer(str(makers.stranger), {}))


def _renamed(makers: Makers, folder: Path) -> None:
    """Cut under another name, and called by this one: nothing within says so but the index."""
    shutil.rmtree(folder)
    older = cut(makers.old_bundle.read_bytes(), folder.parent / "old" / "older", makers.good.signer)
    folder.mkdir()
    for path in older.parent.iterdir():
        shutil.copyfile(path, folder / path.name.replace("older", folder.name))


PARTS_HARMS: dict[str, Callable[[Makers, Path], object]] = {
    "a part is missing": lambda _, folder: _part(folder, 2).unlink(),
    "parts in wrong order": _swap,
    "a part is damaged": lambda _, folder: _flip(_part(folder, 2)),
    "a part is cut short": lambda _, folder: _part(folder, 2).write_bytes(
        _part(folder, 2).read_bytes()[:-1]
    ),
    "a part is a link": _linked,
    "a part of an older bundle": _older_part,
    "the list is in another order": _other_order,
    "the index is changed": lambda _, folder: _flip(folder / f"{folder.name}{INDEX}"),
    "no signature of the list": lambda _, folder: (
        folder / f"{folder.name}{RAW_SIGNATURE}"
    ).unlink(),
    "the index is signed by another key": _by_stranger,
    "all parts of an older release, renamed": _renamed,
}


# --- deltas


def delta_gone_wrong(makers: Makers, name: str, into: Path) -> Stick:
    if name == "a base for a whole bundle":
        return replace(
            makers.tar("bundle", makers.good_members("bundle"), into), base=makers.old_bundle
        )
    members = makers.good_members("delta")
    if change := DELTA_HARMS.get(name):
        members = change(members)
    stick = makers.tar("delta", members, into)
    if name == "no base is here":
        return replace(stick, base=None)
    if name == "the base is another release":
        return replace(stick, base=_other_base(makers, into))
    if name.startswith("a file of the base"):
        base = into / "base"
        shutil.copytree(makers.old.folder, base)
        blob = max((base / "images/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
        good = blob.read_bytes()
        blob.unlink()
        if name.endswith("damaged"):
            blob.write_bytes(bytes(len(good)))
        return replace(stick, base=base)
    return stick


def _other_base(makers: Makers, into: Path) -> Path:
    made = make_release(
        into / "other", version="1.2.0", key_file=makers.good.key_file, manifests=brings_installer
    )
    return made.folder


def _changing(ending: str, change: Callable[[bytes], bytes]) -> Callable[[Members], Members]:
    def harm(members: Members) -> Members:
        found: Members = []
        for info, data in members:
            if info.name.startswith("delta/") and info.name.endswith(ending):
                data = change(data)
                info = tarfile.TarInfo(info.name)
                info.size = len(data)
            found.append((info, data))
        return found

    return harm


def _beyond(recipe: bytes) -> bytes:
    """The first run of the old blob, from a place where it has no bytes."""
    lines = recipe.splitlines(keepends=True)
    number = next(at for at, line in enumerate(lines) if line.startswith(b"copy "))
    word, digest, _, length = lines[number].split()
    lines[number] = b" ".join([word, digest, b"99999999", length]) + b"\n"
    return b"".join(lines)


DELTA_HARMS: dict[str, Callable[[Members], Members]] = {
    "the new bytes are damaged": _changing(".data", lambda data: bytes([data[0] ^ 1]) + data[1:]),
    "the recipe is damaged": _changing(".recipe", lambda data: data.replace(b"copy", b"take", 1)),
    "the recipe reads beyond the base": _changing(".recipe", _beyond),
    "the recipe is missing": lambda members: [
        one for one in members if not one[0].name.endswith(".recipe")
    ],
}


def unharmed(makers: Makers, medium: str, into: Path) -> Stick:
    """The good release, on each medium."""
    return makers.packed(medium, makers.copied(into).folder, into)
