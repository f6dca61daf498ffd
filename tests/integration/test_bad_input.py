"""Bad input of every kind: the right exit code, a message with the next step, nothing left behind.

Each case runs the command line as a user would. Nothing here may show a traceback or publish half
a release.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MODEL_OPTIONS = (
    "-j", "de", "-w", "x86-64-v3", "-p", "kubernetes",
    "--region", "aws/eu-central-1", "--license", "Apache-2.0",
)  # fmt: skip


@pytest.fixture(scope="module")
def key(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("key")
    subprocess.run(
        [sys.executable, "-m", "packager", "keys", "generate", "-o", folder / "site.pem", "-q"],
        check=True,
        capture_output=True,
    )
    return folder / "site.pem"


def told(outcome, *words: str) -> None:
    story = outcome.out + outcome.err
    assert "Traceback" not in story
    for word in words:
        assert word in story


MODELS = {
    "missing": (None, "model.onnx"),
    "empty": (b"", "empty"),
    "truncated": ("half", "model.onnx"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "PNG"),
    "text": (b"this is no model at all\n" * 9, "ONNX"),
    "safetensors": (b"\x40\0\0\0\0\0\0\0" + b'{"a":{}}'.ljust(64) + b"\0" * 4, "model.onnx"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_no_model(packager, tmp_path, key, kind):
    content, word = MODELS[kind]
    model = tmp_path / "model.onnx"
    if content == "half":
        import magika

        real = next((Path(magika.__file__).parent / "models").glob("*/model.onnx"))
        content = real.read_bytes()[: real.stat().st_size // 2]
    if content is not None:
        model.write_bytes(content)
    outcome = packager("build", model, *MODEL_OPTIONS, "--key", key, "-o", tmp_path / "out")
    assert outcome.code == 1
    told(outcome, word, "next:")
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ([] if content is None else ["model.onnx"])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("jurisdiction: de", "jurisdiction: dee", ["dee", "'de'", "targets[0]"]),
        ("hardware: x86-64-v3", "hardware: x86-64-v4", ["x86-64-v4", "'x86-64-v3'"]),
        ("metadata:", "metdata:", ["release.yaml:", "metdata", "'metadata'"]),
        ("kind: Release", "kind: Release\nkind: Release", ["given twice", "release.yaml:5"]),
        ("objective: latency", "objective: [latency]", ["wrong type", "a list", "objective"]),
    ],
)
def test_mistakes_in_the_release_file(packager, tmp_path, key, old, new, words):
    from tests_examples import EXAMPLE

    text = (EXAMPLE / "release.yaml").read_text()
    assert old in text
    file = tmp_path / "release.yaml"
    file.write_text(text.replace(old, new, 1))
    outcome = packager("build", file, "--key", key, "-o", tmp_path / "out")
    assert outcome.code == 1
    told(outcome, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["release.yaml"]


def test_every_refusal_comes_at_once_with_exit_3(packager, tmp_path, key):
    from tests_examples import EXAMPLE

    text = (EXAMPLE / "release.yaml").read_text()
    file = tmp_path / "release.yaml"
    file.write_text(
        text.replace("aws/eu-central-1", "aws/us-east-1").replace(
            "license: Apache-2.0", "license: NOASSERTION"
        )
    )
    outcome = packager("check", file)
    assert outcome.code == 3
    told(outcome, "aws/us-east-1", "next:")
    built = packager("build", file, "--key", key, "-o", tmp_path / "out")
    assert built.code == 3
    assert [path.name for path in tmp_path.iterdir()] == ["release.yaml"]


KEYS = ("missing", "a public key", "garbage", "RSA", "encrypted, no password", "unreadable name")


@pytest.mark.parametrize("kind", KEYS)
def test_what_is_no_signing_key(packager, tmp_path, key, kind, monkeypatch):
    monkeypatch.delenv("PACKAGER_KEY_PASSWORD", raising=False)
    path = tmp_path / "key.pem"
    if kind == "a public key":
        shutil.copy(key.with_suffix(".pub"), path)
    elif kind == "garbage":
        path.write_bytes(os.urandom(300))
    elif kind == "RSA":
        subprocess.run(["openssl", "genrsa", "-out", path, "2048"], check=True, capture_output=True)
    elif kind == "encrypted, no password":
        subprocess.run(
            [
                "openssl",
                "pkcs8",
                "-topk8",
                "-in",
                key,
                "-out",
                path,
                "-passout",
                "pass:secret-word",
            ],
            check=True,
        )
    elif kind == "unreadable name":
        path.mkdir()
    model = tmp_path / "model.onnx"
    model.write_bytes(b"")
    outcome = packager("build", model, *MODEL_OPTIONS, "--key", path, "-o", tmp_path / "out")
    assert outcome.code == 1
    told(outcome, "key", "next:")
    assert "PRIVATE" not in outcome.out + outcome.err
    assert "secret-word" not in outcome.out + outcome.err
    assert not (tmp_path / "out").exists()


def test_an_existing_output_is_left_alone(packager, tmp_path, key):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("mine")
    outcome = packager(
        "build", tmp_path / "model.onnx", *MODEL_OPTIONS, "--key", key, "-o", tmp_path / "out"
    )
    assert outcome.code == 1
    told(outcome, "exists already", "-o")
    assert (tmp_path / "out" / "precious").read_text() == "mine"


def test_a_bare_model_without_its_options_is_a_usage_error(packager, tmp_path):
    outcome = packager("build", tmp_path / "model.onnx", "-o", tmp_path / "out")
    assert outcome.code == 2
    told(outcome, "--jurisdiction", "--hardware", "--platform")


def test_a_build_without_a_key_says_how_to_make_one(packager, tmp_path):
    outcome = packager("build", tmp_path / "m.onnx", *MODEL_OPTIONS, "-o", tmp_path / "out")
    assert outcome.code == 1
    told(outcome, "packager keys generate")


def test_errors_are_json_too(packager, tmp_path, key):
    outcome = packager(
        "build", tmp_path / "m.onnx", *MODEL_OPTIONS, "--key", key, "-o", tmp_path / "o", "--json"
    )
    assert outcome.code == 1
    assert outcome.json()["exit_code"] == 1
    assert outcome.json()["findings"][0]["next_step"]


def test_a_full_disk_is_told_and_nothing_is_left(release, tmp_path):
    """A real file system of 8 MB, mounted for the test."""
    if os.geteuid() != 0 or not Path("/proc/mounts").exists():
        pytest.skip("mounting a small file system needs root")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "none", small], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"mount is refused here: {mounted.stderr.decode().strip()}")
    try:
        done = build_process(release, small / "out")
        out, err = done.communicate(timeout=300)
        assert done.returncode == 1, out + err
        assert "disk is full" in err
        assert "Traceback" not in err
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("delay", [0.0, 0.6, 1.5, 3.0])
def test_an_interrupted_build_leaves_nothing(release, tmp_path, number, delay):
    process = build_process(release, tmp_path / "out")
    wait_until_it_listens(process)
    time.sleep(delay)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    if (tmp_path / "out" / "release.json").exists():
        return  # the signal came when the release was published whole
    assert process.returncode == 130, out + err
    assert "Traceback" not in err
    assert "interrupted" in err
    assert list(tmp_path.iterdir()) == []


def wait_until_it_listens(process: subprocess.Popen) -> None:
    """Python itself starts slowly on a busy machine, and until then a signal ends it silently."""
    asked = 1 << (signal.SIGTERM - 1)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        status = Path(f"/proc/{process.pid}/status").read_text()
        if asked & int(status.split("SigCgt:")[1].split()[0], 16):
            return
        time.sleep(0.01)
    raise AssertionError("it never listened to SIGTERM")


def test_a_killed_build_is_swept_by_the_next_one(release, tmp_path):
    process = build_process(release, tmp_path / "out")
    deadline = time.monotonic() + 60
    while not list(tmp_path.iterdir()) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=60)
    again = build_process(release, tmp_path / "out")
    out, err = again.communicate(timeout=300)
    assert again.returncode == 0, out + err
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def build_process(release, output: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "packager",
            "build",
            release.source / "release.yaml",
            "--key",
            release.key,
            "-o",
            output,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
