"""The tamper matrix of issue 4: each kind of harm at each door, or why it cannot be done there.

The rows are the kinds of harm, the columns the doors through which a release comes in: a folder, a
bundle, an image in a registry. A cell names probes of `tampering.py` (done to a folder, and packed
as it is for the bundle), faults of `inner_faults.py` (validly signed, and wrong), entries of a
hostile bundle, or probes of `registry_tampering.py`; a text that begins with "-" is the reason why
there is none.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass

from bundles import member

DOORS = ("folder", "bundle", "registry")


@dataclass(frozen=True)
class Row:
    """`probes` and `faults` are done to the folder and to the bundle; `entries` are put into the
    bundle alone; `registry` are names of probes there. `missing` says of a door why it has none."""

    kind: str
    probes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()
    registry: tuple[str, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()


NO_NAMES = ("registry", "a registry has names and bytes, and nothing is looked for by a path")
ENTRIES = {
    "symlink": member("evil", kind=tarfile.SYMTYPE, link="/etc/passwd"),
    "hard link": member("evil", kind=tarfile.LNKTYPE, link="release.json"),
    "character device": member("evil", kind=tarfile.CHRTYPE),
    "block device": member("evil", kind=tarfile.BLKTYPE),
    "way out": member("../evil", b"x"),
    "absolute": member("/evil", b"x"),
    "twin": member("checksums.txt", b"x"),
    "added": member("evil", b"x"),
    "case": member("RELEASE.json", b"x"),
}
MATRIX: tuple[Row, ...] = (
    Row(
        "flipped byte in each kind of file",
        probes=(
            "flip release.json", "flip bundle", "flip raw signature", "flip checksums",
            "flip index", "flip oci-layout", "flip docker manifest", "flip SBOM",
            "flip provenance", "flip manifest", "flip image manifest", "flip image config",
            "flip gzip layer", "flip model layer",
        ),
        registry=(
            "flip manifest", "flip signature manifest", "flip payload", "flip config",
            "flip attestation manifest", "flip attestation", "flip last attestation",
            "flip referrer", "flip bundle", "flip gzip layer", "flip model layer",
        ),
    ),
    Row(
        "truncation",
        probes=("truncate SBOM", "empty SBOM", "truncate root", "truncate bundle",
                "truncate checksums"),
        registry=("truncate manifest", "truncate payload", "truncate layer", "empty layer"),
    ),
    Row(
        "removal",
        probes=("remove SBOM", "remove layer", "remove checksums", "remove root"),
        registry=("remove manifest", "strip attestations", "remove referrer", "remove layer",
                  "remove config"),
    ),
    Row(
        "addition",
        probes=("add file", "add hidden file", "add blob", "add folder"),
        entries=("added",),
        registry=("longer layer", "longer config", "endless signatures", "added signature"),
    ),
    Row(
        "symlink",
        probes=("symlink to the same bytes", "symlinked folder", "symlinked root",
                "symlinked checksums", "dangling symlink"),
        entries=("symlink",),
        missing=(NO_NAMES,),
    ),
    Row("hard link", probes=("hard link",), entries=("hard link",), missing=(NO_NAMES,)),
    Row(
        "device",
        probes=("named pipe", "socket", "device"),
        entries=("character device", "block device"),
        missing=(NO_NAMES,),
    ),
    Row("..", faults=("path outside",), entries=("way out",), registry=("digest that is a path",)),
    Row(
        "absolute path",
        faults=("absolute path",),
        entries=("absolute",),
        registry=("digest that is an absolute path",),
    ),
    Row(
        "duplicate entry",
        faults=("file twice", "key twice"),
        entries=("twin",),
        registry=("key twice",),
    ),
    Row(
        "case-colliding entry",
        probes=("case collision", "Unicode form collision"),
        entries=("case",),
        registry=("digest in capitals",),
    ),
    Row(
        "swapped files between two validly signed releases",
        probes=("file of another release", "root of another release",
                "sealed root of an older release", "swap two blobs"),
        registry=("swap two layers", "layer of another release", "manifest of another release",
                  "config of another release"),
    ),
    Row(
        "swapped signature",
        probes=("signatures of another release", "raw signature of another release"),
        registry=("signature of another release", "attestations of another release"),
    ),
    Row(
        "stripped signature",
        probes=("strip bundle", "strip raw signature"),
        registry=("strip signature", "no signatures in the list"),
    ),
    Row("other key", probes=("other key",), registry=("signed by another key",)),
    Row("older release", probes=("older",), registry=("older",)),
    Row("revoked key", probes=("revoked",), registry=("revoked",)),
    Row(
        "media-type confusion",
        probes=("bundle of another type", "bundle about an envelope"),
        faults=("index of another type", "index names an index", "layer of a type not used",
                "layer calls itself plain and is gzip", "provenance as signature"),
        registry=("manifest is an index", "signature of another type",
                  "attestation of another type", "attestation under a false label"),
    ),
    Row(
        "oversized JSON",
        probes=("bundle too long", "root too long"),
        registry=("manifest too long", "signature too long", "referrers too long",
                  "payload that says it is huge"),
    ),
    Row(
        "deeply nested JSON",
        probes=("bundle nested", "bundle nested objects"),
        faults=("root nested too deep", "root nested without end"),
        registry=("signature nested too deep", "attestations nested too deep",
                  "referrers nested too deep", "manifest nested too deep"),
    ),
    Row(
        "gzip bomb",
        probes=("layer becomes a gzip bomb",),
        faults=("layer is a bomb",),
        registry=("layer becomes a gzip bomb",),
    ),
    Row(
        "zstd bomb",
        probes=("layer becomes a zstd bomb",),
        faults=("layer is a zstd bomb",),
        registry=("layer becomes a zstd bomb",),
    ),
    Row(
        "wrong size with the right digest",
        faults=("wrong size, right digest", "index with a wrong size", "image of another size"),
        registry=("payload of a wrong size", "attestation of a wrong size"),
    ),
    Row(
        "index pointing outside",
        faults=("index names a digest that is a path", "index names a missing blob",
                "image not in the index", "attestation of a foreign image"),
        registry=("referrers name a digest that is a path", "referrers lead to another image"),
    ),
)  # fmt: skip
