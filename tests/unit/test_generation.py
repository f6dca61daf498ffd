"""A text model in release.yaml: what is read of it, and everything that is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from text_folder import configuration, save_text_folder, write_configuration

from packager.decoder_folder import read_decoder
from packager.domain.generation import Speculating, TextEngine
from packager.domain.model import Metric
from packager.domain.release import ReleaseRequest
from packager.domain.target import DeploymentPlatform, Region
from packager.errors import InputError
from packager.release import ModelOptions, read_release, request_for_model

RELEASE = """
apiVersion: packager/v1
kind: Release
metadata: {{name: chat, version: 1.0.0}}
model: {{kind: generative, path: model, license: Apache-2.0}}
targets:
  - {{jurisdiction: de, hardware: x86-64-v3, platform: compose, regions: [site/lab]}}
sites: {{lab: DE}}
{more}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("text")
    save_text_folder(base / "model")
    save_text_folder(base / "draft", seed=2, layers=1, hidden=32)
    return base


def read(folder: Path, more: str = "") -> ReleaseRequest:
    file = folder / "release.yaml"
    file.write_text(RELEASE.format(more=more))
    return read_release(file)


def findings(folder: Path, more: str) -> str:
    with pytest.raises(InputError) as refused:
        read(folder, more)
    return "\n".join(f"{one.where} {one.what} {one.expected}" for one in refused.value.findings)


def test_what_the_folder_says_is_taken_over(folder: Path) -> None:
    generation = read(folder).serving.generation
    assert generation
    decoder = generation.decoder
    assert (decoder.layers, decoder.kv_heads, decoder.head_size) == (2, 2, 16)
    assert (decoder.vocabulary, decoder.end_tokens, decoder.begin_token) == (300, (0,), 0)
    assert generation.context == 512
    assert generation.slots is None
    assert decoder.weights == (folder / "model/model.onnx").stat().st_size


def test_a_text_model_is_held_to_its_words_and_needs_its_own_wheels(folder: Path) -> None:
    request = read(folder, "generation: {grammars: true}")
    assert request.quality.metric is Metric.GREEDY_AGREEMENT
    assert request.serving.features == ("generation", "grammar")


def test_settings_are_read(folder: Path) -> None:
    more = "generation: {context: 128, slots: 3, draft: draft, speculation: draft, queue: 7}"
    generation = read(folder, more).serving.generation
    assert generation
    assert (generation.context, generation.slots, generation.queue) == (128, 3, 7)
    assert generation.speculation is Speculating.DRAFT
    # two caches of FP32: 2 layers and 1, 2 heads of 16 each
    assert generation.slot_bytes() == 128 * 2 * 4 * 2 * 16 * (2 + 1)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("generation: {context: 513}", "longer than the model can read 2 to 512 tokens"),
        ("generation: {slots: 0}", "out of range 1 to 256"),
        ("generation: {speculation: draft}", "speculation by a draft needs one"),
        ("generation: {draft: nowhere}", "the folder is not an exported text model"),
        ("generation: {perplexity_at_most: 0.5}", "perplexity_at_most out of range"),
        ("generation: {slotz: 3}", "unknown key 'slotz'"),
        ("quality: {metric: cosine}", "not for a generative model"),
        ("server: {grpc: true}", "text is generated over HTTP only"),
        ("serving: {task: embeddings, tokenizer: t.json}", "no other steps around it"),
        ('generation: {producer: ""}', "1 to 200 printable characters"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(folder: Path, more: str, told: str) -> None:
    assert told in findings(folder, more)


def test_settings_of_generation_without_a_text_model(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "release.yaml"
    text = RELEASE.format(more="generation: {slots: 2}").replace("kind: generative, ", "")
    file.write_text(text)
    with pytest.raises(InputError, match="only a generative model"):
        read_release(file)


def test_a_bare_folder_on_the_command_line_is_a_text_model(folder: Path) -> None:
    options = ModelOptions(
        "de", "x86-64-v3", DeploymentPlatform.COMPOSE, (Region("site", "lab"),), name="chat"
    )
    assert request_for_model(folder / "model", options).serving.generation


def test_all_that_is_wrong_in_a_configuration_is_told_at_once(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    copy.mkdir()
    (copy / "model.onnx").write_bytes(b"x")
    document = json.loads((folder / "model/genai_config.json").read_bytes())
    document["model"]["vocab_size"] = 0
    document["model"]["eos_token_id"] = [5]
    document["model"]["decoder"]["head_size"] = "16"
    document["model"]["decoder"]["filename"] = "../model.onnx"
    write_configuration(copy, document)
    with pytest.raises(InputError) as refused:
        read_decoder(copy)
    told = [one.where for one in refused.value.findings]
    keys = ("vocab_size", "head_size", "filename", "eos_token_id", "tokenizer.json")
    assert all(any(key in (where or "") for where in told) for key in keys)


def test_foreign_weights_are_told_how_to_become_a_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(InputError) as refused:
        read_decoder(tmp_path)
    assert "packager export" in (refused.value.findings[0].next_step or "")


def test_a_graph_that_only_the_library_takes_is_served_serially_by_it(tmp_path: Path) -> None:
    from plain_decoder import save_plain_folder

    save_plain_folder(tmp_path / "model")
    request = read(tmp_path)
    generation = request.serving.generation
    assert generation
    assert generation.engine_on("CPUExecutionProvider") is TextEngine.GENERATOR
    assert generation.engine_on("CUDAExecutionProvider") is TextEngine.LIBRARY
    assert "position_ids" in generation.decoder.objections[0]
    assert generation.decoder.unknown == ()
    assert request.serving.features == ("genai", "generation")
    told = findings(tmp_path, "generation: {engine: packager}")
    assert "packager's engine does not take this graph" in told
    told = findings(tmp_path, "generation: {speculation: draft, draft: model}")
    assert "does not guess that way" in told


def test_an_engine_of_the_library_may_be_named(folder: Path) -> None:
    request = read(folder, "generation: {engine: genai-engine}")
    generation = request.serving.generation
    assert generation
    assert generation.engine_on("CPUExecutionProvider") is TextEngine.LIBRARY
    assert request.serving.features == ("genai", "generation")
    told = findings(folder, "generation: {engine: genai-engine, speculation: lookup}")
    assert "does not guess that way" in told


def test_helpers_agree() -> None:
    from tiny_decoder import graph_module

    shape = graph_module().Shape(300)
    assert configuration(shape)["model"]["decoder"]["num_hidden_layers"] == shape.layers


def attending(source: Path, folder: Path, window: int, **attributes: int) -> Path:
    """A copy of the model whose attention has further attributes and whose configuration says
    that the model looks back so many tokens."""
    shutil.copytree(source, folder / "model")
    graph = onnx.load(folder / "model/model.onnx")
    for node in graph.graph.node:
        if node.op_type == "GroupQueryAttention":
            node.attribute.extend(helper.make_attribute(*one) for one in attributes.items())
    onnx.save(graph, folder / "model/model.onnx")
    document = json.loads((folder / "model/genai_config.json").read_bytes())
    document["model"]["decoder"]["sliding_window"] = {"window_size": window}
    write_configuration(folder / "model", document)
    return folder


def test_a_graph_that_lost_its_window_reads_no_further_than_it(
    folder: Path, tmp_path: Path
) -> None:
    """The builder does that to a Mistral on a CPU; transformers says something else beyond."""
    lost = attending(folder / "model", tmp_path / "lost", 48, local_window_size=-1)
    generation = read(lost).serving.generation
    assert generation
    assert generation.context == 48
    assert "text up to which the graph says what the model says 2 to 48" in findings(
        lost, "generation: {context: 49}"
    )
    kept = attending(folder / "model", tmp_path / "kept", 48, local_window_size=48)
    assert read_decoder(kept / "model").context == 512


@pytest.mark.parametrize(("longer", "reach"), [("Greater", 48), ("Less", None)])
def test_a_graph_whose_positions_change_with_the_length_reads_no_further(
    folder: Path, tmp_path: Path, longer: str, reach: int | None
) -> None:
    """As the builder exports a Phi 3 with LongRoPE: one row of a step changes all of them."""
    attending(folder / "model", tmp_path, 512, local_window_size=512)
    graph = onnx.load(tmp_path / "model/model.onnx")
    tables = next(n.input[7:9] for n in graph.graph.node if n.op_type == "GroupQueryAttention")
    limit = numpy_helper.from_array(np.array(48, np.int64))
    graph.graph.node.extend([
        helper.make_node("Constant", [], ["limit"], value=limit),
        helper.make_node(longer, ["width", "limit"], ["is_longer"]),
        helper.make_node("If", ["is_longer"], [*tables]),
    ])  # fmt: skip
    onnx.save(graph, tmp_path / "model/model.onnx")
    decoder = read_decoder(tmp_path / "model")
    assert decoder.context == (reach or 512)
    assert decoder.reach == reach
    assert any("positions" in why for why in decoder.objections) == (reach is None)


def test_a_cache_that_slides_is_taken_by_no_engine(folder: Path, tmp_path: Path) -> None:
    """As the builder exports a Gemma 2 or 3: plain ONNX Runtime cannot even open it."""
    sliding = attending(
        folder / "model", tmp_path, 48, local_window_size=48, sliding_window_cache=1
    )
    decoder = read_decoder(sliding / "model")
    assert decoder.objections == decoder.unknown
    assert "its cache slides" in decoder.unknown[0]
