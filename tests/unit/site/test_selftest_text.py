"""A site's self-test of a text model: what it must say, asked through the real port."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from runtime_process import RuntimeProcess
from tiny_decoder import TinyChat

from packager.runtime import configuration
from packager.runtime.generative.jobs import Job
from packager.runtime.generative.worker import build_engine

SCRIPT = Path(__file__).resolve().parents[3] / "templates/site/selftest.py"
PROMPT = (5, 9, 40, 7)


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> TinyChat:
    """A text model with the answer that it gives."""
    made = TinyChat.make(tmp_path_factory.mktemp("chat"))
    (settings,) = configuration.load(made.folder / "server.json").generative
    engine = build_engine(made.folder, settings)
    engine.submit(Job(1, PROMPT, 8, ignore_end=True))
    answer: list[int] = []
    while engine.busy:
        answer += [one.token for event in engine.step() for one in event.chosen]
    golden = made.folder / "models/chat/1/golden.json"
    golden.write_text(json.dumps({"cases": [{"prompt": PROMPT, "answer": answer}]}))
    made.entry["golden"] = {"path": "models/chat/1/golden.json"}
    made.write()
    return made


@pytest.fixture(scope="module")
def server(chat: TinyChat) -> Iterator[RuntimeProcess]:
    with RuntimeProcess(chat.folder / "server.json") as process:
        yield process.wait_ready()


@pytest.fixture
def selftest(chat: TinyChat, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("selftest", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "CONFIGURATION", chat.folder / "server.json")
    return module


def test_the_known_answer_passes(server: RuntimeProcess, selftest: ModuleType) -> None:
    told, status = selftest.main("test", "127.0.0.1", str(server.port), "", "20")
    assert status == 0, told
    assert told.startswith("chat: 1 answers agree")


def test_another_answer_is_wrong(
    server: RuntimeProcess,
    selftest: ModuleType,
    chat: TinyChat,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that says something else than what its own image holds."""
    document = json.loads((chat.folder / "server.json").read_bytes())
    (entry,) = document["generative"]
    golden = json.loads((chat.folder / entry["golden"]["path"]).read_bytes())
    golden["cases"][0]["answer"][-1] ^= 1
    (tmp_path / "golden.json").write_text(json.dumps(golden))
    entry["golden"]["path"] = str(tmp_path / "golden.json")
    entry["tokenizer"] = str(chat.folder / entry["tokenizer"])
    (tmp_path / "server.json").write_text(json.dumps(document))
    monkeypatch.setattr(selftest, "CONFIGURATION", tmp_path / "server.json")
    told, status = selftest.main("test", "127.0.0.1", str(server.port), "", "20")
    assert status == 1
    assert "another answer than the known one to prompt 1" in told
