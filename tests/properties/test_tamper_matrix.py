"""The tamper matrix: every kind of harm at every door, by the command that a site runs.

Each cell is refused with exit 4; the report that is written names the step and what is wrong where;
nothing is unpacked, started or written. `tamper_matrix.MATRIX` says what is done in which cell.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from bundles import entries, make_bundle, packed_as_is, write_entries
from inner_faults import BOMB, FAULTS, ZSTD_BOMB
from memory_registry import MemoryRegistry
from registry_server import serving
from registry_tampering import PROBES as REGISTRY_PROBES
from registry_tampering import att, config_of, layer, on_blob, sig
from small_release import SmallRelease, make_release
from tamper_matrix import DOORS, ENTRIES, MATRIX
from tampering import PROBES

from packager.attest.cosign import signature_artifact
from packager.attest.keys import generate_key, open_signer
from packager.attest.trust_statements import revocation_list
from packager.cli.main import main
from packager.oci.reference import Reference

SIGNED_FOR = "registry.example.de/ml/filetype"


@dataclass(frozen=True)
class World:
    base: Path
    release: SmallRelease
    found: list
    registry: MemoryRegistry
    other: MemoryRegistry
    revocations: Path

    @property
    def digest(self) -> str:
        return str(self.release.built[0].image.manifest.digest)

    def trust(self, name: str) -> list[str]:
        """The options that say whom the site trusts, and with what else it knows."""
        key = ["--key", str(self.release.public_file)]
        if name == "older":
            return [*key, "--minimum", "filetype=200004000009"]
        if name == "revoked":
            second = ["--key", str(self.base / "second.pub")]
            return [*key, *second, "--revocations", str(self.revocations)]
        if name == "signed by another key":
            return ["--key", str(self.base / "second.pub")]
        return key


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    base = tmp_path_factory.mktemp("world")
    release = make_release(base / "release")
    make_bundle(release, base / "whole.tar")
    older = make_release(base / "older", version="1.3.0", key_file=release.key_file)
    second = open_signer(str(generate_key(base / "second.pem", None).private), {})
    revocations = base / "revoked.json"
    revocations.write_bytes(revocation_list(second, 1, [release.public.fingerprint], []))
    registries = (
        MemoryRegistry.of(one.folder / "images", one.built[0].image) for one in (release, older)
    )
    return World(base, release, entries(base / "whole.tar"), *registries, revocations)


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(os, "posix_spawn", refuse)


def refused(
    subject: str | Path, options: list[str], tmp_path: Path, capsys, *, contents: bool = False
) -> list[dict[str, str]]:
    """What the report says was wrong."""
    report = tmp_path / "report.json"
    before = everything(tmp_path)
    command = ["verify", str(subject), *options, "-q", "--report", str(report)]
    assert main([*command, "--contents"] if contents else command) == 4
    assert "Traceback" not in capsys.readouterr().err
    told = json.loads(report.read_bytes())
    assert told["verified"] is False
    report.unlink()
    assert everything(tmp_path) == before
    listed = [it for it in told["findings"] if not it["what"].startswith("and ")]
    for finding in listed:
        assert finding["what"].startswith("step "), finding
        assert finding.get("where"), finding
        assert finding.get("next_step"), finding
    return told["findings"]


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        shown = path.lstat()
        found[str(path)] = (shown.st_mode, shown.st_size)
    return found


# --- what is done


def becomes(bomb: bytes) -> Callable[[SmallRelease], None]:
    def harm(release: SmallRelease) -> None:
        path = release.blob(release.built[0].image.layers[0].descriptor.digest)
        path.unlink()
        path.write_bytes(bomb)

    return harm


def device(release: SmallRelease) -> None:
    try:
        os.mknod(release.folder / "evidence/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("making devices needs root")


def nothing(*_: object) -> None:
    """The harm is that the site knows more than the release: it is old, or its key was stolen."""


HARM: dict[str, Callable[[SmallRelease], None]] = {
    **{probe.name: probe.harm for probe in PROBES},
    "device": device,
    "older": nothing,
    "revoked": nothing,
    "layer becomes a gzip bomb": becomes(BOMB),
    "layer becomes a zstd bomb": becomes(ZSTD_BOMB),
}
MADE = {fault.name: fault for fault in FAULTS}


def harmed(world: World, kind: str, name: str, folder: Path) -> Path:
    """The release folder after the harm."""
    if kind == "fault":
        return MADE[name].make(folder, world.release.key_file).folder
    copied = folder / "release"
    shutil.copytree(world.release.folder, copied)
    HARM[name](replace(world.release, folder=copied))
    return copied


def _take(world: World, name: str, find) -> Callable[[MemoryRegistry, str], None]:
    def harm(registry: MemoryRegistry, digest: str) -> None:
        theirs = str(next(it for it in world.other.index))
        registry.blobs[find(registry, digest)] = world.other.blobs[find(world.other, theirs)]

    return harm


def registry_harm(world: World, name: str) -> Callable[[MemoryRegistry, str], None]:
    theirs = next(iter(world.other.index))
    others = world.other

    def manifest_of_other(it: MemoryRegistry, digest: str) -> None:
        it.manifests[digest] = others.manifests[theirs]

    def put(tag: Callable[[str], str]) -> Callable[[MemoryRegistry, str], None]:
        def harm(it: MemoryRegistry, digest: str) -> None:
            it.manifests[tag(digest)] = others.manifests[tag(theirs)]
            it.blobs |= others.blobs

        return harm

    def added_signature(it: MemoryRegistry, digest: str) -> None:
        thief = open_signer(str(world.base / "second.pem"), {})
        foreign = signature_artifact(world.release.built[0].image, SIGNED_FOR, thief)
        it.blobs |= {str(one): data for one, data in foreign.blobs}
        more = json.loads(foreign.manifest)["layers"]
        it.edit(sig(digest), lambda document: document["layers"].extend(more))

    def key_twice(it: MemoryRegistry, digest: str) -> None:
        it.manifests[sig(digest)] = b'{"schemaVersion":2,' + it.manifests[sig(digest)][1:]

    def named(digest_text: str) -> Callable[[MemoryRegistry, str], None]:
        return lambda it, digest: it.edit(
            sig(digest), lambda found: found["layers"][0].update(digest=digest_text)
        )

    def capitals(it: MemoryRegistry, digest: str) -> None:
        written = json.loads(it.manifests[sig(digest)])["layers"][0]["digest"]
        named(written.upper())(it, digest)

    def referrers(change: Callable[[dict], None]) -> Callable[[MemoryRegistry, str], None]:
        def harm(it: MemoryRegistry, digest: str) -> None:
            document = json.loads(it.index[digest])
            change(document["manifests"][0])
            it.index[digest] = json.dumps(document).encode()
            it.manifests |= others.manifests
            it.blobs |= others.blobs

        return harm

    foreign = json.loads(others.index[theirs])["manifests"][0]
    added = {
        "remove layer": lambda it, digest: it.blobs.pop(layer(1)(it, digest)),
        "remove config": lambda it, digest: it.blobs.pop(config_of(it, digest)),
        "added signature": added_signature,
        "digest that is an absolute path": named("/etc/passwd"),
        "key twice": key_twice,
        "digest in capitals": capitals,
        "layer of another release": _take(world, name, layer(1)),
        "config of another release": _take(world, name, config_of),
        "manifest of another release": manifest_of_other,
        "signature of another release": put(sig),
        "attestations of another release": put(att),
        "manifest nested too deep": lambda it, digest: it.manifests.update({digest: b"[" * 9999}),
        "layer becomes a gzip bomb": on_blob(layer(0), lambda _: BOMB),
        "layer becomes a zstd bomb": on_blob(layer(0), lambda _: ZSTD_BOMB),
        "attestation of a wrong size": lambda it, digest: it.edit(
            att(digest), lambda found: found["layers"][0].update(size=7)
        ),
        "referrers name a digest that is a path": referrers(
            lambda entry: entry.update(digest="sha256:../../etc/passwd")
        ),
        "referrers lead to another image": referrers(lambda entry: entry.update(foreign)),
        **dict.fromkeys(("older", "revoked", "signed by another key"), nothing),
    }
    return added.get(name) or next(it.harm for it in REGISTRY_PROBES if it.name == name)


# --- the cells


def cells(door: str) -> list:
    found = []
    for row in MATRIX:
        if door == "registry":
            found += [pytest.param(name, id=f"{row.kind}: {name}") for name in row.registry]
            continue
        kinds = [("probe", row.probes), ("fault", row.faults)]
        if door == "bundle":
            kinds.append(("entry", row.entries))
        found += [
            pytest.param(kind, name, id=f"{row.kind}: {name}")
            for kind, names in kinds
            for name in names
        ]
    return found


@pytest.mark.parametrize(("kind", "name"), cells("folder"))
def test_folder(world, tmp_path, capsys, kind, name):
    folder = harmed(world, kind, name, tmp_path / "made")
    contents = kind == "fault" and MADE[name].contents
    findings = refused(folder, world.trust(name), tmp_path, capsys, contents=contents)
    if kind == "fault":
        assert any(it["what"].startswith(f"step {MADE[name].step},") for it in findings)


@pytest.mark.parametrize(("kind", "name"), cells("bundle"))
def test_bundle(world, tmp_path, capsys, kind, name):
    bundle = tmp_path / "release.tar"
    if kind == "entry":
        write_entries(bundle, [*world.found[:4], ENTRIES[name], *world.found[4:]])
        contents = False
    else:
        with_faults = harmed(world, kind, name, tmp_path / "made")
        write_entries(bundle, packed_as_is(with_faults, world.found))
        contents = kind == "fault" and MADE[name].contents
    refused(bundle, world.trust(name), tmp_path, capsys, contents=contents)


@pytest.mark.parametrize("name", cells("registry"))
def test_registry(world, tmp_path, capsys, name):
    registry = copy.deepcopy(world.registry)
    registry_harm(world, name)(registry, world.digest)
    with serving(registry) as address:
        image = f"{address}/{Reference.parse(SIGNED_FOR + ':x').repository}@{world.digest}"
        options = [*world.trust(name), "--repository", SIGNED_FOR]
        refused(image, options, tmp_path, capsys)


def test_unharmed_they_are_accepted(world, tmp_path, capsys):
    key = world.trust("")
    assert main(["verify", str(world.release.folder), *key, "-q"]) == 0
    write_entries(tmp_path / "same.tar", packed_as_is(world.release.folder, world.found))
    assert main(["verify", str(tmp_path / "same.tar"), *key, "-q"]) == 0
    with serving(world.registry) as address:
        image = f"{address}/ml/filetype@{world.digest}"
        assert main(["verify", image, *key, "--repository", SIGNED_FOR, "-q", "--contents"]) == 0
    for trust in ("older", "revoked"):
        assert main(["verify", str(world.release.folder), *world.trust(trust), "-q"]) == 4
    capsys.readouterr()


def test_the_matrix_has_no_hole():
    """Each kind has a probe at each door, or a reason; there are more than asked for at each."""
    counted = dict.fromkeys(DOORS, 0)
    for row in MATRIX:
        missing = dict(row.missing)
        done = {
            "folder": row.probes + row.faults,
            "bundle": row.probes + row.faults + row.entries,
            "registry": row.registry,
        }
        for door in DOORS:
            assert bool(done[door]) != (door in missing), (row.kind, door)
            counted[door] += len(done[door])
    assert len(MATRIX) == 24
    assert min(counted.values()) >= 25


# --- the other commands that take a release


def _commands(folder: Path, key: Path, out: Path) -> dict[str, list[str]]:
    release = [str(folder), "--key", str(key)]
    target = ["--target", "de/x86-64-v3/kubernetes"]
    return {
        "inspect": ["inspect", *release],
        "bundle": ["bundle", *release, "-o", str(out)],
        "bundle of a target": ["bundle", *release, *target, "-o", str(out)],
        "run": ["run", *release, *target, "--engine", "process"],
        "load": ["load", *release],
        "push": ["push", *release, "127.0.0.1:9/ml"],
        "decrypt": ["decrypt", *release, "--decryption-key", str(key), "-o", str(out)],
        "diff": ["diff", str(folder), str(folder), "--key", str(key)],
    }


@pytest.mark.parametrize("name", ["flip model layer", "symlink to the same bytes", "other key"])
@pytest.mark.parametrize("command", list(_commands(Path(), Path(), Path())))
def test_no_command_takes_anything_out_of_it(world, tmp_path, capsys, command, name):
    folder = harmed(world, "probe", name, tmp_path / "made")
    private = world.release.key_file  # `decrypt` reads it before it looks at the release
    key = private if command == "decrypt" else world.release.public_file
    before = everything(tmp_path)
    arguments = _commands(folder, key, tmp_path / "out")[command]
    if command == "decrypt":
        arguments[3] = str(world.release.public_file)
    assert main([*arguments, "-q"]) == 4
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    assert told.out == ""
    # What `bundle` has copied by then is as signed; it goes on from there with a good release.
    begun = set(map(str, tmp_path.glob(".packager-bundle-*")))
    assert {path: it for path, it in everything(tmp_path).items() if path not in begun} == before
