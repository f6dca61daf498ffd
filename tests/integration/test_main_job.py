"""The main job on the real model: what is built runs, and answers what Magika itself answers."""

import bz2
import gzip
import io
import json
import lzma
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = os.environ.get("PACKAGER_REQUIRE_ENGINES") == "1"


def docker_or_skip() -> None:
    from packager.oci.docker_engine import NoEngine, engine

    found = engine()
    if isinstance(found, NoEngine):
        if REQUIRED:
            pytest.fail(f"an engine is required: {found.reason}")
        pytest.skip(f"no Docker engine: {found.reason}")
    found.close()


def png(width: int = 40, height: int = 30) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    rows = b"".join(b"\0" + bytes((x * y) % 256 for x in range(width * 3)) for y in range(height))
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def pdf() -> bytes:
    text = b"BT /F1 24 Tf 72 720 Td (A page of the test suite) Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
    ]
    body = b"%PDF-1.4\n"
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return (
        body
        + b"xref\n0 5\n0000000000 65535 f \n"
        + table
        + (b"trailer << /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(body))
    )


def archive(kind: str) -> bytes:
    buffer = io.BytesIO()
    content = (ROOT / "README.md").read_bytes()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("README.md", content)
    else:
        with tarfile.open(fileobj=buffer, mode="w") as file:
            header = tarfile.TarInfo("README.md")
            header.size = len(content)
            file.addfile(header, io.BytesIO(content))
    return buffer.getvalue()


def wave() -> bytes:
    samples = bytes((index * index) % 256 for index in range(8000))
    header = b"RIFF" + (36 + len(samples)).to_bytes(4, "little") + b"WAVEfmt \x10\0\0\0\1\0\1\0"
    rate = (8000).to_bytes(4, "little")
    return header + rate * 2 + b"\1\0\x08\0data" + len(samples).to_bytes(4, "little") + samples


def database(folder: Path) -> bytes:
    path = folder / "rows.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table rows (a text, b integer)")
        connection.executemany("insert into rows values (?, ?)", [(f"r{i}", i) for i in range(99)])
    connection.close()
    return path.read_bytes()


def real_files(folder: Path) -> list[Path]:
    """At least 30 files of different kinds: of the repository and the system, and generated."""
    readme = (ROOT / "README.md").read_bytes()
    made = {
        "empty": b"",
        "tiny.txt": b"hi\n",
        "page.pdf": pdf(),
        "picture.png": png(),
        "sound.wav": wave(),
        "archive.zip": archive("zip"),
        "archive.tar": archive("tar"),
        "text.gz": gzip.compress(readme, mtime=0),
        "text.bz2": bz2.compress(readme),
        "text.xz": lzma.compress(readme),
        "rows.sqlite": database(folder),
        "rows.csv": "\n".join(f"{i},name {i},{i * i}.5" for i in range(99)).encode(),
        "rows.json": json.dumps([{"id": i, "name": f"n{i}"} for i in range(50)], indent=2).encode(),
        "page.html": b"<!DOCTYPE html><html><head><title>t</title></head><body><p>Hi</p>",
        "data.xml": b'<?xml version="1.0"?><root>' + b"<item a='1'>text</item>" * 40 + b"</root>",
        "script.sh": b"#!/bin/sh\nset -eu\nfor f in *; do echo \"$f\"; done\nexit 0\n",
        "main.c": b"#include <stdio.h>\nint main(void) {\n  puts(\"42\");\n  return 0;\n}\n",
        "main.go": b'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("hello")\n}\n',
        "Main.java": b"public class Main {\n  public static void main(String[] a) { return; }\n}\n",
        "app.js": b"const x = (a) => a + 1;\nmodule.exports = { x };\nconsole.log(x(2));\n",
        "query.sql": b"SELECT a, count(*) FROM rows WHERE b > 3 GROUP BY a ORDER BY 2 DESC;\n" * 4,
        "random.bin": bytes((i * 7919 + i // 3) % 256 for i in range(5000)),
        "service.ini": b"[unit]\nname = value\nother = 2\n\n[service]\nrestart = always\n" * 3,
    }  # fmt: skip
    paths = []
    for name, data in made.items():
        path = folder / name
        path.write_bytes(data)
        paths.append(path)
    paths += [
        ROOT / "README.md",
        ROOT / "Makefile",
        ROOT / "pyproject.toml",
        ROOT / "LICENSE",
        ROOT / "packager" / "pipeline.py",
        ROOT / "examples" / "filetype" / "release.yaml",
        ROOT / "templates" / "kubernetes" / "base" / "deployment.yaml.j2",
        Path(sys.executable).resolve(),
        Path(json.__file__),
    ]
    assert len(paths) >= 30
    return paths


def magika_labels(files: list[Path]) -> list[str]:
    from magika import Magika

    return [str(result.output.label) for result in Magika().identify_paths(files)]


def served_labels(release, files: list[Path], *options: str) -> list[str]:
    done = subprocess.run(
        [
            sys.executable, "-m", "packager", "run", release.folder, "--key", release.public, "-q",
            *options, "--", sys.executable, release.source / "classify.py",
            *files,
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.rpartition(": ")[2] for line in done.stdout.splitlines()]


@pytest.mark.engine
def test_the_image_in_docker_gives_magikas_own_label(release, tmp_path):
    docker_or_skip()
    files = real_files(tmp_path)
    options = ("--target", "de/x86-64-v3/kubernetes", "--engine", "docker")
    assert served_labels(release, files, *options) == magika_labels(files)


@pytest.mark.parametrize("target", ["de/x86-64-v3/kubernetes", "sg/arm64-v8/kubernetes"])
def test_the_local_process_gives_magikas_own_label(release, tmp_path, target):
    files = real_files(tmp_path)
    options = ("--target", target, "--engine", "process")
    assert served_labels(release, files, *options) == magika_labels(files)


@pytest.mark.parametrize("engine", [pytest.param("docker", marks=pytest.mark.engine), "process"])
def test_a_release_is_loaded_and_measured_here(release, packager, tmp_path, engine):
    if engine == "docker":
        docker_or_skip()
    given = (
        *("bench", release.folder, "--key", release.public, "--engine", engine),
        *("--target", "de/x86-64-v3/kubernetes", "--json"),
    )
    samples = release.source / "samples.npz"
    loaded = packager(*given, "--samples", samples, "--clients", "2", "--requests", "50")
    assert loaded.code == 0, loaded.err
    document = json.loads(loaded.out)
    assert document["server"]["release"]["target"] == "de/x86-64-v3/kubernetes"
    assert [step["succeeded"] for step in document["steps"]] == [50]
    file = tmp_path / "site.json"
    measured = packager(*given, "--record", file)
    assert measured.code == 0, measured.err
    (row,) = json.loads(file.read_text())["measurements"]
    built = json.loads((release.folder / "evidence" / "measurements.json").read_text())
    known = {(one["source"], one["candidate"], one["hardware"]) for one in built["measurements"]}
    assert (row["source"], row["candidate"], row["hardware"]) in known
    assert {figures["batch"] for figures in row["figures"]} >= {1, 16}


@pytest.mark.engine
def test_the_container_is_held_tight(release):
    """Seen from Docker: not root, nothing writable, no capability, no way out."""
    docker_or_skip()
    inspect = (
        "docker ps -q --filter label=dev.packager.run --filter name=packager-filetype | head -1"
        " | xargs docker inspect"
    )
    done = subprocess.run(
        [
            sys.executable, "-m", "packager", "run", release.folder, "--key", release.public, "-q",
            "--target", "sa/x86-64-v3/compose", "--engine", "docker", "--", "sh", "-c", inspect,
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (container,) = json.loads(done.stdout)
    host = container["HostConfig"]
    assert container["Config"]["User"] == "65532:65532"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Privileged"]
    assert any("no-new-privileges" in option for option in host["SecurityOpt"])
    assert "ORT_DISABLE_TELEMETRY=1" in container["Config"]["Env"]


def test_targets_share_their_layers(release):
    from packager.domain.trust import TrustFiles
    from packager.inspecting import inspect
    from packager.progress import SILENT

    document = inspect(release.folder, TrustFiles((release.public,)), SILENT)
    shared = {row["kind"]: len(row["targets"]) for row in document["layers"]}
    assert len(document["targets"]) == 3
    assert shared["runtime"] == 3
    assert document["stored"] < 0.8 * document["unshared"]
    two_amd64 = [row for row in document["layers"] if len(row["targets"]) == 2]
    assert {"system", "python", "provider"} <= {row["kind"] for row in two_amd64}


def test_every_file_that_a_decision_names_is_in_the_release(release):
    record = json.loads((release.folder / "evidence" / "compliance.json").read_text())
    named = {
        name
        for target in record["targets"]
        for decision in target["decisions"]
        for name in decision["by"]
    }
    assert named
    assert [name for name in sorted(named) if not (release.folder / name).is_file()] == []


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_openssl_and_sha256sum_alone_check_the_release(release):
    script = (
        'openssl dgst -sha256 -verify "$1" -signature release.sig release.json'
        ' && grep -q "$(sha256sum checksums.txt | cut -d" " -f1)" release.json'
        " && sha256sum --quiet -c checksums.txt"
    )
    command = ["sh", "-c", script, "sh", release.public]
    done = subprocess.run(command, cwd=release.folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = {
        line.split("  ", 1)[1]
        for line in (release.folder / "checksums.txt").read_text().splitlines()
    }
    there = {
        path.relative_to(release.folder).as_posix()
        for path in release.folder.rglob("*")
        if path.is_file()
    }
    assert there - listed == {
        "release.json",
        "release.sigstore.json",
        "release.sig",
        "checksums.txt",
    }


def test_no_secret_and_no_machine_in_the_release(release):
    """The key, the host's name, the user's home and the clock stay out."""
    private = release.key.read_bytes().splitlines()[1]
    # A short name occurs in signatures and digests by chance, as part of longer words.
    host = re.compile(rb"(?<![\w+/=-])%s(?![\w+/=-])" % re.escape(os.uname().nodename.encode()))
    for path in release.folder.rglob("*"):
        if path.is_file() and "blobs" not in path.parts:
            data = path.read_bytes()
            assert private not in data, path
            assert b"PRIVATE KEY" not in data, path
            assert not host.search(data), path
            assert str(Path.home()).encode() + b"/" not in data, path
            assert str(release.source).encode() not in data, path


def test_a_second_verification_with_another_key_is_refused(release, packager, tmp_path):
    packager("keys", "generate", "-o", tmp_path / "other.pem")
    outcome = packager("verify", release.folder, "--key", tmp_path / "other.pub")
    assert outcome.code == 4
    assert "signature" in outcome.err
    ran = packager("run", release.folder, "--key", tmp_path / "other.pub", "--", "true")
    assert ran.code == 4


def test_render_again_with_an_own_template(release, packager, tmp_path):
    (tmp_path / "mine" / "kubernetes" / "base").mkdir(parents=True)
    original = (ROOT / "templates" / "kubernetes" / "base" / "service.yaml.j2").read_text()
    (tmp_path / "mine" / "kubernetes" / "base" / "service.yaml.j2").write_text(
        "# ours\n" + original
    )
    outcome = packager(
        "render", release.source / "release.yaml", "--release", release.folder,
        "--key", release.public, "--templates", tmp_path / "mine", "-o", tmp_path / "again",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    folder = "targets/de/x86-64-v3/kubernetes"
    assert (tmp_path / "again" / folder / "base/service.yaml").read_text().startswith("# ours")
    for name in ("base/deployment.yaml", "base/networkpolicy.yaml"):
        assert (tmp_path / "again" / folder / name).read_bytes() == (
            release.folder / folder / name
        ).read_bytes()
