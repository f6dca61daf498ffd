"""server.json: everything that is wrong is refused, and named by its key path."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from tiny_models import RuntimeFolder

from packager.runtime import configuration
from packager.runtime.errors import ExitCode, Refusal


@pytest.fixture
def folder(tmp_path: Path) -> RuntimeFolder:
    folder = RuntimeFolder(tmp_path)
    folder.add_classifier()
    return folder


def test_a_complete_document(folder: RuntimeFolder) -> None:
    loaded = configuration.load(folder.write())
    assert loaded.release.target == "de/x86-64-v3/compose"
    assert loaded.jurisdiction.regions == ("aws/eu-central-1", "site/lab")
    (model,) = loaded.models
    assert str(model) == "model classifier version 1"
    assert [str(spec) for spec in model.outputs] == ["scores FP32[-1, 3]", "label INT64[-1]"]
    assert model.golden is None
    assert loaded.http.max_body_bytes == 1 << 20
    assert loaded.folder == str(folder.path.resolve())


def test_the_command_line_may_say_where_to_listen(folder: RuntimeFolder) -> None:
    http = configuration.load(folder.write()).http
    assert http.listening_on("::1", 9000).host == "::1"
    assert http.listening_on(None, None) == http
    for host, port in (("localhost", None), (None, 70000)):
        with pytest.raises(Refusal) as refused:
            http.listening_on(host, port)
        assert refused.value.code == ExitCode.CONFIGURATION


DELETED = object()


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("apiVersion", "packager.runtime/v2", "apiVersion must be 'packager.runtime/v1'"),
        ("apiVersion", DELETED, "apiVersion is missing"),
        ("extra", 1, "extra is unknown"),
        ("release.target", 3, "release.target must be text"),
        ("release.name", "", "release.name must be text"),
        ("release.when", "now", "release.when is unknown"),
        ("jurisdiction.regions", "aws/eu", "jurisdiction.regions must be a list"),
        ("jurisdiction.regions.0", "eu-central-1", "jurisdiction.regions[0] must be provider/re"),
        ("jurisdiction", None, "jurisdiction must be an object"),
        ("models", [], "models must name at least one model"),
        ("models", {}, "models must be a list"),
        ("models.0.name", "a/b", "models[0].name must be letters"),
        ("models.0.version", 1, "models[0].version must be text"),
        ("models.0.version", "v1", "models[0].version must be a whole number as text"),
        ("models.0.path", "../model.onnx", "models[0].path must be a path below"),
        ("models.0.path", "/model.onnx", "models[0].path must be a path below"),
        ("models.0.path", "other.onnx", "models[0].path is not among the files"),
        ("models.0.files.0.sha256", "A" * 64, "models[0].files[0].sha256 must be 64 lower-case"),
        ("models.0.files.0.size", -1, "models[0].files[0].size must be a whole number"),
        ("models.0.files.0.size", True, "models[0].files[0].size must be a whole number"),
        ("models.0.files.0.size", 1.0, "models[0].files[0].size must be a whole number"),
        ("models.0.inputs", [], "models[0].inputs must name at least one tensor"),
        ("models.0.inputs.0.datatype", "FLOAT", "models[0].inputs[0].datatype must be one of"),
        ("models.0.inputs.0.shape", [-2], "models[0].inputs[0].shape[0] must be a whole number"),
        ("models.0.inputs.0.shape", [1] * 17, "models[0].inputs[0].shape must have at most 16"),
        ("models.0.outputs.1.name", "scores", "models[0].outputs names one tensor twice"),
        ("models.0.intra_op_threads", "2", "models[0].intra_op_threads must be a whole number"),
        (
            "models.0.provider_options",
            {"device_id": 0},
            "models[0].provider_options.device_id must",
        ),
        ("models.0.golden", {"path": "g.npz"}, "models[0].golden.tolerance is missing"),
        (
            "models.0.golden",
            {"path": "g.npz", "tolerance": 0.001},
            "models[0].golden.path is not among the files",
        ),
        ("models.0.golden", {"path": "g.npz", "tolerance": -1}, "models[0].golden.tolerance must"),
        ("http.host", "localhost", "http.host must be an IP address"),
        ("http.port", 65536, "http.port must be a whole number between 0 and 65535"),
        ("http.max_body_bytes", 0, "http.max_body_bytes must be a whole number"),
        ("http.max_concurrency", 0, "http.max_concurrency must be a whole number"),
        ("http.drain_seconds", "10", "http.drain_seconds must be a number"),
    ],
)
def test_what_is_wrong_is_named(
    folder: RuntimeFolder, path: str, value: object, named: str
) -> None:
    folder.document = edited(folder.document, path, value)
    with pytest.raises(Refusal) as refused:
        configuration.load(folder.write())
    assert refused.value.code == ExitCode.CONFIGURATION
    assert str(refused.value).startswith(f"server.json: {named}")
    assert "\n" not in str(refused.value)


def test_one_model_and_version_twice(folder: RuntimeFolder) -> None:
    folder.document["models"].append(copy.deepcopy(folder.document["models"][0]))
    with pytest.raises(Refusal, match="names one model and version twice"):
        configuration.load(folder.write())


def test_one_file_twice(folder: RuntimeFolder) -> None:
    files = folder.document["models"][0]["files"]
    files.append(files[0])
    with pytest.raises(Refusal, match=r"models\[0\].files names one file twice"):
        configuration.load(folder.write())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('{"http": {"port": 1, "port": 2}}', "the key 'port' stands twice"),
        ('{"tolerance": NaN}', "NaN is not a number"),
        ("[" * 100_000, "not JSON"),
        ("[]", "the document must be an object"),
        ("\ufeff{}", "not JSON"),
    ],
)
def test_documents_that_are_no_documents(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "server.json"
    path.write_text(text)
    with pytest.raises(Refusal, match=named):
        configuration.load(path)


def test_no_document_at_all(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"cannot read .*server\.json: No such file"):
        configuration.load(tmp_path / "server.json")


def test_regions(folder: RuntimeFolder) -> None:
    loaded = configuration.load(folder.write())
    loaded.require_region(None)
    loaded.require_region("site/lab")
    with pytest.raises(Refusal, match=r"'aws/us-east-1'.*'de' allows: aws/eu-central-1, site/lab"):
        loaded.require_region("aws/us-east-1")


def edited(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy with one value replaced, added or deleted."""
    changed = json.loads(json.dumps(document))
    *parents, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    holder = changed
    for part in parents:
        holder = holder[part]
    if value is DELETED:
        del holder[last]
    else:
        holder[last] = value
    return changed
