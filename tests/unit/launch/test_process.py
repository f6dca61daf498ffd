"""A local process from layers: the files of the image, a poor environment, an orderly end."""

import json
import socket
import time
import urllib.request

import pytest
from tiny_images import content

from packager.errors import InputError, PackagerError, UnavailableError, VerificationError
from packager.launch import process
from packager.launch.client import wait_ready
from packager.launch.process import start_process

SITE = "usr/local/lib/python3.13/dist-packages/packager_runtime"
# Stands for the runtime: takes the same arguments, tells its environment, ends on SIGTERM.
SERVER = """
import argparse, http.server, json, os, signal, sys
arguments = argparse.ArgumentParser()
arguments.add_argument("--config"); arguments.add_argument("--host")
arguments.add_argument("--port", type=int)
options = arguments.parse_args()
told = {"config": json.load(open(options.config)), "environ": dict(os.environ),
        "file": __file__, "cwd": os.getcwd(), "path": sys.path}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
STUBBORN
print("serving", flush=True)
http.server.HTTPServer((options.host, options.port), Handler).serve_forever()
"""
ENDS = "signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), os._exit(0)))"
STAYS = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"


@pytest.fixture
def layers(store):
    def make(stubborn=ENDS, server=SERVER):
        files = {
            "runtime": {
                f"{SITE}/__init__.py": b"",
                f"{SITE}/__main__.py": server.replace("STUBBORN", stubborn).encode(),
            },
            "model": {"opt/packager/model/model.onnx": b"weights"},
            "configuration": {"opt/packager/server.json": b'{"ours": true}'},
            "system": {"etc/passwd": b"not needed here"},
        }
        return [store.write(content(kind, named)) for kind, named in files.items()]

    return make


def test_runs_what_the_layers_hold(layers, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    monkeypatch.setenv("HTTPS_PROXY", "http://192.0.2.1:1")
    into = tmp_path / "into"
    with start_process(layers(), into) as running:
        wait_ready(running.url, 20, running.running)
        with urllib.request.urlopen(running.url, timeout=5) as answer:
            told = json.load(answer)
    assert told["config"] == {"ours": True}
    assert told["file"] == str(into / SITE / "__main__.py")
    assert told["environ"]["ORT_DISABLE_TELEMETRY"] == "1"
    assert not {"SECRET_TOKEN", "HTTPS_PROXY"} & set(told["environ"])
    assert told["cwd"] not in told["path"]
    assert not (into / "etc").exists()
    assert not running.running()
    assert running.wait() == 0
    assert running.logs() == "serving\nbye\n"


def test_the_port_that_was_asked_for(layers, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with start_process(layers(), tmp_path / "into", port) as running:
        assert running.url == f"http://127.0.0.1:{port}"
        wait_ready(running.url, 20, running.running)


def test_a_port_that_is_taken(layers, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UnavailableError, match="port"):
            start_process(layers(), tmp_path / "into", taken.getsockname()[1])
    assert not (tmp_path / "into").exists()


def test_one_that_does_not_want_to_end_is_ended(layers, tmp_path):
    running = start_process(layers(STAYS), tmp_path / "into")
    wait_ready(running.url, 20, running.running)
    start = time.monotonic()
    running.stop(grace_s=0.3)
    assert not running.running()
    assert time.monotonic() - start < 10
    running.stop()


def test_one_that_ends_at_once_is_told(layers, tmp_path):
    broken = "import sys; sys.exit('server.json: no such model')"
    with start_process(layers(server=broken), tmp_path / "into") as running:
        with pytest.raises(PackagerError, match="ended before"):
            wait_ready(running.url, 20, running.running)
        assert "no such model" in running.logs()


def test_a_missing_layer_is_told(layers, tmp_path):
    some = [layer for layer in layers() if layer.kind != "model"]
    with pytest.raises(VerificationError) as refused:
        start_process(some, tmp_path / "into")
    assert refused.value.findings[0].got == "without model"


def test_missing_packages_are_told_with_the_command(layers, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_NEEDED", ("orjson", "packager_none_such"))
    with pytest.raises(InputError) as refused:
        start_process(layers(), tmp_path / "into")
    (finding,) = refused.value.findings
    assert "packager_none_such" in finding.got
    assert ".[local]" in finding.next_step


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"grpc": {"port": 1}}, "none-such-a"),
        ({"models": [{"serving": {"task": "embeddings", "tokenizer": {}}}]}, "none-such-b"),
        ({"models": [{"name": "m"}, {"serving": {"image": {}}}]}, None),
        ({"models": [], "grpc": None}, None),
    ],
)
def test_packages_that_an_image_brings_beyond_tensors_are_told(
    tmp_path, monkeypatch, document, told
):
    more = {
        "grpc": {"packager_none_such.part": "none-such-a"},
        "tokenizer": {"packager_none_such": "none-such-b"},
        "image": {"json": "json"},
    }
    monkeypatch.setattr(process, "_MORE", more)
    file = tmp_path / "opt" / "packager" / "server.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(document))
    if told is None:
        process._refuse_missing_features(tmp_path)
        return
    with pytest.raises(InputError) as refused:
        process._refuse_missing_features(tmp_path)
    (finding,) = refused.value.findings
    assert finding.next_step == f"pip install {told}, or start a Docker engine"
