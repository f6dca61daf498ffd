"""Fuzzes, guided by coverage, every parser that reads before a signature is verified.

    pip install atheris
    python -m benchmarks.trust.fuzz [SECONDS]     (for each parser; default: 30)

libFuzzer chooses the bytes, starting from real documents of a small release. Each parser has a
process of its own; what ends it is an exception other than those that the parser promises, five
seconds without an answer, one allocation of 64 MiB, or 768 MiB in all (Python and coverage
included). The last lines are one JSON object for each parser: how many inputs, how many branches
they reached, what went wrong. Exit 1 when something did.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

INSTRUMENTED = ["packager.attest", "packager.bundle", "packager.carrying", "packager.canonical"]
Parser = Callable[[bytes], object]


def parsers(folder: Path) -> dict[str, tuple[Parser, tuple[type[Exception], ...]]]:
    """Name → parser, and the errors that it promises. `folder` holds a release and its key."""
    from packager.attest import bounded_json, root, sigstore
    from packager.attest.claims import bundled_statement, classic_statement, signed_claim
    from packager.attest.keys import PublicKey, read_public_key
    from packager.attest.layout_index import Member, manifest_document
    from packager.attest.statement import Statement
    from packager.attest.trust_statements import open_revocations, open_rotation
    from packager.attest.verifying import verify
    from packager.bundle.document import BundleDocument
    from packager.bundle.parts_document import PartsDocument
    from packager.bundle.reading import BundleSource
    from packager.bundle.recipe import Recipe
    from packager.carrying import Listing
    from packager.digest import Digest
    from packager.domain.artifact import MediaType
    from packager.errors import InputError, VerificationError

    key = read_public_key(folder / "site.pub")
    scratch = folder / "fuzzed.tar"

    def manifest(raw: bytes) -> object:
        found = bounded_json.load_object(raw, limit=1 << 20)
        return manifest_document(found, Member(MediaType.MANIFEST, Digest.of(raw), len(raw), {}))

    def bundle(raw: bytes) -> object:
        scratch.write_bytes(raw)
        return verify(BundleSource.at(scratch), key)

    refused = (ValueError, VerificationError)
    return {
        "json": (lambda raw: bounded_json.loads(raw, limit=1 << 20), refused),
        "release.json": (root.parse_root, refused),
        "sigstore message": (lambda raw: sigstore.verify_message(raw, b"data", key), refused),
        "sigstore envelope": (lambda raw: sigstore.verify_dsse(raw, key, limit=1 << 20), refused),
        "sigstore hint": (sigstore.hint_of, refused),
        "in-toto statement": (Statement.parse, refused),
        "simple signing": (lambda raw: signed_claim(raw, {}, key), refused),
        "classic attestation": (lambda raw: classic_statement(raw, {}, key), refused),
        "referrer": (lambda raw: bundled_statement(raw, {}, Digest.of(b""), key), refused),
        "rotation": (lambda raw: open_rotation(raw, [key], "here"), refused),
        "revocations": (lambda raw: open_revocations(raw, [key], "here"), refused),
        "public key, DER": (PublicKey.of_der, refused),
        "public key, PEM": (lambda raw: PublicKey.of_pem(raw, "here"), (InputError,)),
        "image manifest": (manifest, refused),
        "bundle document": (lambda raw: BundleDocument.parse(raw, "here"), refused),
        "index of parts": (lambda raw: PartsDocument.parse(raw, "here"), refused),
        "recipe of a delta": (lambda raw: Recipe.parse(raw, "here"), refused),
        "listing": (Listing.parse, refused),
        "bundle": (bundle, refused),
    }


def seeds(folder: Path, into: Path) -> None:
    """A real document of each kind."""
    from bundles import make_bundle
    from small_release import make_release

    from packager.attest.root import ROOT
    from packager.bundle.document import BundleDocument
    from packager.bundle.parts_document import PartsDocument
    from packager.bundle.recipe import Recipe, Run
    from packager.carrying import Listing
    from packager.digest import Digest
    from packager.progress import SILENT

    release = make_release(folder)
    make_bundle(release, folder / "whole.tar")
    small = [
        path
        for path in [*release.folder.rglob("*"), folder / "site.pub", folder / "whole.tar"]
        if path.is_file() and path.stat().st_size < 300_000
    ]
    listing = Listing.parse((release.folder / ROOT).read_bytes())
    part = folder / "whole.tar"
    made = [
        BundleDocument.of(listing, tuple(listing.images)).as_bytes(),
        Recipe(
            Digest.of(b"new"), 128, (Run(Digest.of(b"old"), 7, 100), Run(None, 0, 28))
        ).as_bytes(),
        PartsDocument.of("whole", part.stat().st_size, [part], SILENT).as_bytes(),
    ]
    for number, data in enumerate([*made, *(path.read_bytes() for path in small)]):
        (into / str(number)).write_bytes(data)


def attack(name: str, folder: Path, corpus: Path, seconds: int) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        parser, promised = parsers(folder)[name]

    def one(raw: bytes) -> None:
        with contextlib.suppress(promised):
            parser(raw)

    limits = ["-timeout=5", "-rss_limit_mb=768", "-malloc_limit_mb=64", "-max_len=300000"]
    options = [*limits, f"-max_total_time={seconds}", "-seed=1", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


def outcome(name: str, done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    story = done.stdout + done.stderr
    inputs = re.findall(r"stat::number_of_executed_units:\s+(\d+)", story)
    covered = re.findall(r"cov: (\d+)", story)
    peak = re.findall(r"stat::peak_rss_mb:\s+(\d+)", story)
    wrong = "" if done.returncode == 0 else story[-1500:]
    return {
        "parser": name,
        "inputs": int(inputs[-1]) if inputs else 0,
        "branches": int(covered[-1]) if covered else 0,
        "peak_mib": int(peak[-1]) if peak else 0,
        "wrong": wrong,
    }


def main(seconds: int = 30) -> int:
    found = []
    with tempfile.TemporaryDirectory(prefix="packager-fuzz-") as name:
        folder = Path(name)
        first = folder / "seeds"
        first.mkdir()
        seeds(folder, first)
        for parser in parsers(folder):
            corpus = folder / "corpus"
            corpus.mkdir()
            for seed in first.iterdir():
                (corpus / seed.name).write_bytes(seed.read_bytes())
            command = [sys.executable, "-m", "benchmarks.trust.fuzz", "--attack", parser, folder]
            done = subprocess.run(
                [*map(str, command), str(corpus), str(seconds)],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                cwd=Path(__file__).parents[2],
            )
            found.append(outcome(parser, done))
            print(json.dumps(found[-1]), flush=True)
            for path in corpus.iterdir():
                path.unlink()
            corpus.rmdir()
    return int(any(one["wrong"] or not one["inputs"] for one in found))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--attack", parser, folder, corpus, seconds]:
            attack(parser, Path(folder), Path(corpus), int(seconds))
        case arguments:
            raise SystemExit(main(*map(int, arguments)))
