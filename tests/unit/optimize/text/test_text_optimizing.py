"""A text model from its folder to the settings, files and golden answers that the runtime takes."""

import json
import shutil
from pathlib import Path

import pytest
from text_folder import save_prompts, save_text_folder

from packager import pipeline, steps
from packager.assemble.model_files import model_folder, placed_files
from packager.assemble.server_config import server_config
from packager.domain.generation import Speculating
from packager.domain.model import OptimizedModel, Verdict
from packager.domain.release import Plan
from packager.optimize.record import Digest, Figures, Guess, Row
from packager.optimize.record_file import read_record
from packager.optimize.text import measuring
from packager.optimize.text.golden import sure
from packager.optimize.text.measuring import best_chunk, best_guess, best_slots
from packager.progress import SILENT
from packager.release import read_release
from packager.runtime import configuration
from packager.runtime.generative.worker import build_engine, self_test
from packager.workspace import publishing

RELEASE = """
apiVersion: packager/v1
kind: Release
metadata: {name: chat, version: 1.0.0}
model: {kind: generative, path: model, license: Apache-2.0, samples: prompts.jsonl}
generation: {context: 128, draft: draft, producer: 例}
quality: {metric: greedy_agreement, at_least: 0.5}
targets:
  - {jurisdiction: de, hardware: x86-64-v3, platform: compose, regions: [site/lab]}
sites: {lab: DE}
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    save_text_folder(folder / "model")
    save_text_folder(folder / "draft", seed=2, layers=1, hidden=32)
    save_prompts(folder / "prompts.jsonl", 40)
    (folder / "release.yaml").write_text(RELEASE)
    return folder


@pytest.fixture(scope="module")
def optimized(base: Path) -> tuple[Plan, OptimizedModel, Path]:
    """Optimized with as few rounds as there can be, and again from what was recorded."""
    patch = pytest.MonkeyPatch()
    for name, value in (("ROUNDS", 1), ("SECONDS", 0.0), ("STREAMS", (1, 2)), ("TOKENS", 4)):
        patch.setattr(measuring, name, value)
    patch.setattr(measuring, "GUESSING_PROMPTS", 2)
    patch.setattr(measuring, "GUESSING_TOKENS", 16)
    plan, _ = pipeline.check(read_release(base / "release.yaml"))
    with publishing(base / "out") as work:
        (model,) = steps.optimize(plan, base / "m.json", work, SILENT).values()
        into = base / "image"
        shutil.copytree(work.work, base / "kept")
        config = server_config(plan.targets[0], plan.request, [model])
        for name, path, _, _ in placed_files(model):
            target = into / model_folder(plan.request.model_name) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        (into / "server.json").write_bytes(config)
    patch.undo()
    return plan, model, into


def test_every_way_is_a_row_with_a_reason(optimized: tuple[Plan, OptimizedModel, Path]) -> None:
    _, model, _ = optimized
    rows = {row.name: row for row in model.candidates}
    assert rows["fp16"].verdict is rows["bf16"].verdict is Verdict.ILLEGAL
    judged = [row for name, row in rows.items() if name.startswith("int")]
    assert {row.name for row in judged} >= {"int8-blocks-32", "int4-blocks-32", "int4-blocks-128"}
    assert all(row.quality for row in judged if row.verdict is not Verdict.FAILED)
    assert "no matrix product" in rows["int8-blocks-128"].reason  # wider than this model
    wide, narrow = rows["int8-blocks-32"], rows["int4-blocks-64"]
    assert wide.quality
    assert narrow.quality
    assert wide.quality.value > narrow.quality.value


def test_the_runtime_takes_what_was_baked_and_gives_the_golden_answers(
    optimized: tuple[Plan, OptimizedModel, Path],
) -> None:
    _, _, folder = optimized
    loaded = configuration.load(folder / "server.json")
    (settings,) = loaded.generative
    assert not loaded.models
    assert settings.slot_tokens == 128
    assert settings.marks.text == "true; required-by=eu/ai-act-marking"
    assert settings.golden
    golden = (folder / settings.golden.path).read_bytes()
    cases = json.loads(golden)["cases"]
    assert cases
    engine = build_engine(folder, settings)
    self_test(engine, golden)


def test_a_changed_golden_answer_is_noticed(
    optimized: tuple[Plan, OptimizedModel, Path],
) -> None:
    from packager.runtime.errors import Refusal

    _, _, folder = optimized
    (settings,) = configuration.load(folder / "server.json").generative
    assert settings.golden
    cases = json.loads((folder / settings.golden.path).read_bytes())
    cases["cases"][0]["answer"][0] ^= 1
    with pytest.raises(Refusal, match="another answer"):
        self_test(build_engine(folder, settings), json.dumps(cases).encode())


def test_what_was_measured_is_not_measured_again(
    base: Path,
    optimized: tuple[Plan, OptimizedModel, Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    plan, model, _ = optimized
    assert read_record(base / "m.json").texts
    monkeypatch.setattr(measuring, "MODULE", "no.such.module")
    before = (base / "m.json").read_bytes()
    with publishing(tmp_path / "again") as work:
        (again,) = steps.optimize(plan, base / "m.json", work, SILENT).values()
    assert again.generation == model.generation
    assert again.model.digest == model.model.digest
    assert again.candidates == model.candidates
    assert (base / "m.json").read_bytes() == before


def test_a_golden_answer_ends_before_its_first_doubt() -> None:
    assert sure([5, 6, 7], [0.2, 0.005, 0.9]) == [5]
    assert sure([5], [0.001]) == []


def test_the_smallest_chunk_near_the_best_is_taken() -> None:
    assert best_chunk([(16, 50.0), (32, 92.0), (64, 100.0), (128, 99.0)]) == 32


def test_guessing_must_pay_unless_it_was_named() -> None:
    weak = (Guess("draft", 3, 1, 1.01, 0.5), Guess("lookup", 2, 1, 0.9, 0.4))
    assert best_guess(weak, Speculating.AUTO) is None
    named = best_guess(weak, Speculating.LOOKUP)
    assert named
    assert named.kind == "lookup"
    strong = (*weak, Guess("draft", 4, 1, 1.8, 0.7))
    assert best_guess(strong, Speculating.AUTO) == strong[-1]


def test_slots_are_the_fewest_that_come_near_the_best_of_those_that_fit() -> None:
    figures = tuple(
        Figures(1, streams, 5, 1.0, 2.0, rate, 1.0, 1.0)
        for streams, rate in ((1, 100.0), (2, 180.0), (4, 300.0), (8, 310.0))
    )
    row = Row(Digest.of(b"a"), Digest.of(b"b"), "x", "here", figures)
    assert best_slots(row, 1, 256) == 4
    assert best_slots(row, 1, 2) == 2
    assert best_slots(None, 1, 3) == 3
