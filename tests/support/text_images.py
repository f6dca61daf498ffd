"""A text model built as a release, and how its container is driven: OpenAI's client, curl, kill."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest
from text_folder import save_prompts

from packager import pipeline
from packager.attest.keys import generate_key
from packager.domain.trust import TrustFiles
from packager.optimize.text import measuring
from packager.progress import SILENT
from packager.release import read_release
from packager.running import Server, running

RELEASE = """
apiVersion: packager/v1
kind: Release
metadata: {{name: chat, version: 1.0.0}}
model: {{kind: generative, path: model, license: Apache-2.0{samples}}}
generation: {{context: 256, queue: 2, {more}}}
quality: {{metric: greedy_agreement, at_least: 0.5}}
targets:
  - {{jurisdiction: de, hardware: x86-64-v3, platform: compose, regions: [site/lab]}}
sites: {{lab: DE}}
"""


@dataclass(frozen=True)
class Built:
    folder: Path
    trust: TrustFiles


def build_text(
    base: Path,
    save: Callable[[Path], object],
    more: str,
    *,
    samples: bool = True,
    lock: Path | None = None,
) -> Built:
    """A release in `base` of the model that `save` makes, with `more` settings of generation.

    Without samples no candidate is tried; a `lock` may be shared by releases of the same wheels.
    """
    save(base / "model")
    save_prompts(base / "prompts.jsonl", 40)
    named = ", samples: prompts.jsonl" if samples else ""
    (base / "release.yaml").write_text(RELEASE.format(more=more, samples=named))
    generate_key(base / "site.pem", None)
    options = pipeline.BuildOptions(
        base / "out", str(base / "site.pem"), lock or base / "packager.lock", base / "m.json"
    )
    patch = pytest.MonkeyPatch()
    for name, value in (("ROUNDS", 1), ("SECONDS", 0.0), ("STREAMS", (1, 2)), ("TOKENS", 4)):
        patch.setattr(measuring, name, value)
    pipeline.build(read_release(base / "release.yaml"), options, SILENT)
    patch.undo()
    trust = TrustFiles((base / "site.pub",))
    assert pipeline.verify(base / "out", trust, SILENT).targets
    return Built(base / "out", trust)


@contextmanager
def served_without_network(built: Built) -> Iterator[Server]:
    """The release in a container of Docker from which nothing leaves the machine."""
    with running(
        built.folder,
        built.trust,
        target=None,
        port=None,
        engine_choice="docker",
        progress=SILENT,
    ) as server:
        assert "nothing leaves this machine" in server.how
        yield server


def client(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60)


def curl(server: Server, path: str, body: object) -> str:
    done = subprocess.run(
        ["curl", "-sN", "--max-time", "60", f"{server.url}{path}", "-d", json.dumps(body)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def metric(server: Server, name: str) -> float:
    done = subprocess.run(
        ["curl", "-s", "--max-time", "30", f"{server.url}/metrics"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(name)]
    assert lines
    return sum(float(line.split()[-1]) for line in lines)


def container(server: Server) -> str:
    names = subprocess.run(
        ["docker", "ps", "--filter", f"name=packager-chat-.*-{os.getpid()}", "--format", "{{.ID}}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert len(names) == 1
    return names[0]


def worker(server: Server) -> int:
    """The process id, on this machine, of the process that owns the model."""
    shown = subprocess.run(
        ["docker", "top", container(server), "-o", "pid,args"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    found = [line.split()[0] for line in shown if "generative.worker" in line]
    assert len(found) == 1
    return int(found[0])
