"""Looks at an image before it is written, and refuses by name what could not start at the site.

    closure   every library that one of the image's own links is in the image, or is the driver's
    code      the GPU's machine code or PTX is in every library that has device code
    floor     nothing asks for a newer C library than the image has, or is for another machine

Libraries that are opened on demand leave no trace in an ELF file. Which of NVIDIA's are opened is
known (`gpu_libraries`); that all the chosen ones are there is part of the closure.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from packager.archive import Entry, EntryKind
from packager.assemble.elf import MAGIC, Library, read_library
from packager.assemble.fat_binary import capability_number, read_fat_binary, taken
from packager.assemble.gpu_libraries import missing_families
from packager.assemble.unpacked import unpacked
from packager.errors import Finding, LockError

# Brought in by the container runtime from the site's driver, never by an image.
DRIVERS = re.compile(r"lib(cuda|nvidia-\w+|nvcuvid|nvoptix)\.so\.\d+")
_SHARED = re.compile(r".*\.so(\.[\w.]+)?|usr/bin/[^/]+")
# ONNX Runtime's telemetry end point (docs/adr/0003). It is off by a switch wherever it occurs; that
# it does not occur at all is the stronger form, and the record says which it is.
_TELEMETRY = b"events.data.microsoft.com"
# cuFFT's one entry is a stub: its kernels stand elsewhere in the file, in a form of its own.
_CODE_ELSEWHERE = re.compile(r"libcufft\.so\.\d+")


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at: libraries by number, and device code by file as `found of containers`.

    `telemetry` are the files that contain ONNX Runtime's telemetry end point.
    """

    libraries: int
    code: Mapping[str, str]
    glibc: str
    telemetry: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        return {
            "libraries": self.libraries,
            "newest_glibc_asked": self.glibc,
            "device_code": dict(sorted(self.code.items())),
            "telemetry_endpoint_in": list(self.telemetry),
        }


@dataclass(frozen=True, slots=True)
class _Seen:
    library: Library
    containers: int
    covered: int
    codes: tuple[str, ...]
    telemetry: bool


def check_image(
    entries: Iterable[Entry],
    *,
    architecture: str,
    folders: Collection[str],
    chosen: Collection[str],
    capability: str | None,
    glibc: tuple[int, int],
) -> Checked:
    """Check everything in the image but runtime, model and configuration.

    `folders` is LD_LIBRARY_PATH, `chosen` the families of GPU libraries, `capability` the GPU's,
    `glibc` the image's. Raises LockError with everything that is wrong.
    """
    listed = list(entries)
    paths = {entry.path for entry in listed if entry.kind is not EntryKind.DIRECTORY}
    number = capability_number(capability) if capability else None
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="look") as pool:
        looked = pool.map(lambda entry: _look(entry, number), listed)
        seen = {entry.path: one for entry, one in zip(listed, looked, strict=True) if one}
    triplet = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[architecture]
    default = (*folders, f"usr/lib/{triplet}", "usr/lib", "usr/lib64")
    findings = [
        *_closure(seen, paths, default),
        *missing_families(chosen, paths),
        *_code(seen, capability),
        *_floor(seen, architecture, glibc),
    ]
    if findings:
        raise LockError.of(findings)
    asked = max((one.library.glibc for one in seen.values() if one.library.glibc), default=(0, 0))
    return Checked(
        libraries=len(seen),
        code={
            path: f"{one.covered} of {one.containers}"
            for path, one in seen.items()
            if one.containers and number
        },
        glibc=f"{asked[0]}.{asked[1]}",
        telemetry=tuple(sorted(path for path, one in seen.items() if one.telemetry)),
    )


def _look(entry: Entry, capability: int | None) -> _Seen | None:
    """What an ELF file says about itself; None for anything else."""
    if entry.kind is not EntryKind.FILE or not _SHARED.fullmatch(entry.path):
        return None
    with unpacked(entry) as data:
        if data[:4] != MAGIC:
            return None
        library = read_library(data, entry.path)
        containers = read_fat_binary(data, entry.path) if capability else ()
        codes = sorted({one.code for container in containers for one in container})
        covered = sum(1 for container in containers if capability and taken(container, capability))
        telemetry = data.find(_TELEMETRY) >= 0
        return _Seen(library, len(containers), covered, tuple(map(str, codes)), telemetry)


def _closure(
    seen: Mapping[str, _Seen], paths: Collection[str], default: Iterable[str]
) -> list[Finding]:
    findings = []
    for path, one in sorted(seen.items()):
        origin = posixpath.dirname(path)
        own = [
            posixpath.normpath(part.replace("$ORIGIN", origin).replace("${ORIGIN}", origin))
            for part in one.library.search
        ]
        for name in one.library.needed:
            places = (f"{folder.lstrip('/')}/{name}" for folder in (*own, *default))
            if not DRIVERS.fullmatch(name) and not any(place in paths for place in places):
                findings.append(
                    Finding(
                        f"a library is missing in the image: {name}",
                        where=path,
                        expected="every library that it links, save the driver's",
                        next_step="bring the wheel that has it with --wheels",
                    )
                )
    return findings


def _code(seen: Mapping[str, _Seen], capability: str | None) -> list[Finding]:
    return [
        Finding(
            f"a library has no device code for compute capability {capability}",
            where=path,
            expected=f"machine code or PTX that a GPU of {capability} runs",
            got=", ".join(one.codes),
            next_step="choose another wheel in the profile, or bring your own build with --wheels",
        )
        for path, one in sorted(seen.items())
        if one.containers and not one.covered and not _CODE_ELSEWHERE.search(path)
    ]


def _floor(seen: Mapping[str, _Seen], architecture: str, glibc: tuple[int, int]) -> list[Finding]:
    findings = []
    for path, one in sorted(seen.items()):
        if one.library.architecture != architecture:
            findings.append(
                Finding(
                    "a library is for another machine",
                    where=path,
                    expected=architecture,
                    got=one.library.architecture,
                )
            )
        if one.library.glibc and one.library.glibc > glibc:
            findings.append(
                Finding(
                    "a library needs a newer C library than the image has",
                    where=path,
                    expected=f"glibc {glibc[0]}.{glibc[1]} or older",
                    got="glibc {}.{}".format(*one.library.glibc),
                    next_step="choose a wheel with an older manylinux tag, or a newer base",
                )
            )
    return findings
