"""The library's generator and engine behind our protocol: real graphs, the same words."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engines import missing
from plain_decoder import save_plain_folder
from text_folder import save_library_folder

from packager.runtime.errors import Refusal
from packager.runtime.generative.engine import Engine
from packager.runtime.generative.jobs import Finish, Job, TextEngine
from packager.runtime.generative.library import AVAILABLE
from packager.runtime.generative.making import build_engine
from packager.runtime.generative.sampling import SamplingSettings
from packager.runtime.generative.settings import (
    Decoder,
    EngineKind,
    GenerativeSettings,
    Marks,
    Speculation,
    SpeculationSettings,
)

TOKENS = 24


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    if not AVAILABLE:
        missing("pip install --no-deps 'onnxruntime-genai==0.18.0'")


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose graph every engine takes."""
    return save_library_folder(tmp_path_factory.mktemp("grouped"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights in a graph that only the library takes."""
    return save_plain_folder(tmp_path_factory.mktemp("plain"))


def settings(kind: EngineKind, **changes: Any) -> GenerativeSettings:
    library = None if kind is EngineKind.PACKAGER else "genai_config.json"
    made = GenerativeSettings(
        name="chat",
        version="1",
        path="model.onnx",
        files=(),
        decoder=Decoder("model.onnx", 2, 2, 16, 1),
        execution_provider="CPUExecutionProvider",
        provider_options={},
        tokenizer="tokenizer.json",
        chat_template=None,
        vocabulary=300,
        end_tokens=(0,),
        begin_token=None,
        slots=4,
        slot_tokens=128,
        prefill_chunk=8,
        max_queue_size=8,
        speculation=SpeculationSettings(),
        shared_prefixes=False,
        marks=Marks(),
        golden=None,
        engine=kind,
        library_configuration=library,
    )
    return replace(made, **changes)


def engine(folder: Path, kind: EngineKind, **changes: Any) -> TextEngine:
    return build_engine(folder, settings(kind, **changes))


def jobs(count: int = 6, **changes: Any) -> list[Job]:
    chance = random.Random(3)
    return [
        Job(
            number,
            tuple(chance.randrange(1, 300) for _ in range(chance.randint(1, 30))),
            TOKENS,
            **changes,
        )
        for number in range(count)
    ]


def answers(one: TextEngine, waiting: list[Job], every: int = 3) -> dict[int, list[int]]:
    """What is said to jobs that arrive one by one."""
    said: dict[int, list[int]] = {job.id: [] for job in waiting}
    left, step = list(waiting), 0
    while left or one.busy:
        if left and step % every == 0:
            one.submit(left.pop(0))
        for event in one.step():
            assert event.failed is None
            said[event.job] += [chosen.token for chosen in event.chosen]
        step += 1
        assert step < 2000
    return said


@pytest.fixture(scope="module")
def reference(grouped: Path) -> dict[int, list[int]]:
    found = answers(engine(grouped, EngineKind.PACKAGER), jobs())
    assert len({tuple(answer) for answer in found.values()}) == 6, "the model is no test: it loops"
    return found


@pytest.mark.parametrize("slots", [1, 3])
def test_the_generator_says_what_our_engine_says(
    grouped: Path, plain: Path, reference: dict[int, list[int]], slots: int
) -> None:
    """On the graph that both take, and on one of the same weights that ours does not take."""
    for folder in (grouped, plain):
        one = engine(folder, EngineKind.GENERATOR, slots=slots)
        assert isinstance(one, Engine)
        assert answers(one, jobs()) == reference
        assert answers(one, jobs()) == reference, "slots are used again"


def test_the_librarys_engine_says_what_our_engine_says(
    grouped: Path, reference: dict[int, list[int]]
) -> None:
    one = engine(grouped, EngineKind.LIBRARY)
    assert answers(one, jobs()) == reference
    assert answers(one, jobs(), every=1) == reference
    assert one.stats()["tokens"] == 2 * sum(len(answer) for answer in reference.values())


def test_our_engine_does_not_take_the_plain_graph(plain: Path) -> None:
    with pytest.raises(Refusal, match="position_ids"):
        engine(plain, EngineKind.PACKAGER)


def test_guessing_changes_no_word_of_the_generator(
    plain: Path, reference: dict[int, list[int]]
) -> None:
    lookup = SpeculationSettings(Speculation.LOOKUP, tokens=3, ngram=2)
    one = engine(plain, EngineKind.GENERATOR, speculation=lookup, slots=1)
    assert answers(one, jobs()) == reference


@pytest.mark.parametrize(
    "asked",
    [
        SamplingSettings(temperature=0.9, seed=5),
        SamplingSettings(temperature=0.7, top_k=20, top_p=0.9, min_p=0.01, seed=6),
        SamplingSettings(repetition_penalty=1.3, frequency_penalty=0.5, logit_bias={7: 3.0}),
        SamplingSettings(logprobs=3),
    ],
)
def test_the_generator_samples_as_our_engine_does(
    grouped: Path, plain: Path, asked: SamplingSettings
) -> None:
    ours = answers(engine(grouped, EngineKind.PACKAGER), jobs(3, sampling=asked))
    assert answers(engine(plain, EngineKind.GENERATOR), jobs(3, sampling=asked)) == ours


def test_a_conversation_of_the_generator_fills_its_slot_to_the_last_token(plain: Path) -> None:
    one = engine(plain, EngineKind.GENERATOR, slots=1)
    job = Job(1, tuple(range(1, 60)), 128 - 59, ignore_end=True)
    assert len(answers(one, [job])[1]) == 128 - 59
    with pytest.raises(ValueError, match="more than the 128"):
        one.submit(Job(2, tuple(range(1, 60)), 128 - 58))


def test_the_generator_continues_from_what_a_slot_read(plain: Path) -> None:
    one = engine(plain, EngineKind.GENERATOR, slots=1)
    first = Job(1, tuple(range(1, 40)), 8, tenant="a", ignore_end=True)
    again = replace(first, id=2)
    strange = replace(first, id=3, tenant="b")
    said = {number: answers(one, [job])[number] for number, job in enumerate((first, again), 1)}
    assert said[1] == said[2]
    assert one.stats()["cached_tokens"] == 38
    assert answers(one, [strange])[3] == said[1]
    assert one.stats()["cached_tokens"] == 38, "nothing is shared between tenants"


@pytest.mark.parametrize("kind", [EngineKind.GENERATOR, EngineKind.LIBRARY])
def test_a_cancelled_job_says_no_more_and_leaves_room(grouped: Path, kind: EngineKind) -> None:
    one = engine(grouped, kind, slots=1)
    for job in jobs(3):
        one.submit(replace(job, ignore_end=True))
    for _ in range(8):
        one.step()
    one.cancel(0)
    one.cancel(2)
    heard: list[int] = []
    finish = None
    while one.busy:
        for event in one.step():
            heard.append(event.job)
            finish = event.finish
    assert set(heard) == {1}
    assert finish is Finish.LENGTH
    assert one.stats()["active"] == one.stats()["waiting"] == 0


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"logprobs": 2}, "logprobs"),
        ({"min_p": 0.1}, "min_p"),
        ({"frequency_penalty": 1.0}, "frequency_penalty"),
        ({"presence_penalty": 1.0}, "presence_penalty"),
        ({"logit_bias": {3: 1.0}}, "logit_bias"),
        ({"temperature": 1.0, "seed": 4}, "seed"),
    ],
)
def test_what_the_librarys_engine_cannot_do_is_refused_in_words(
    grouped: Path, asked: dict[str, Any], named: str
) -> None:
    one = engine(grouped, EngineKind.LIBRARY)
    with pytest.raises(ValueError, match=named):
        one.submit(jobs(1, sampling=SamplingSettings(**asked))[0])
    assert not one.busy


def test_the_librarys_engine_samples_and_ends_where_the_model_ends(grouped: Path) -> None:
    one = engine(grouped, EngineKind.LIBRARY)
    warm = SamplingSettings(temperature=1.5)
    found = {tuple(answers(one, jobs(1, sampling=warm))[0]) for _ in range(4)}
    assert len(found) > 1
    longer = answers(one, jobs(1, ignore_end=True))[0]
    assert len(longer) == TOKENS


def test_a_regular_expression_is_kept_by_the_librarys_engine(grouped: Path) -> None:
    from tokenizers import Tokenizer

    one = engine(grouped, EngineKind.LIBRARY)
    tokenizer = Tokenizer.from_file(str(grouped / "tokenizer.json"))
    said = answers(one, jobs(1, grammar={"regex": "(yes|no) [0-9]{3}"}))[0]
    text = tokenizer.decode(said)
    assert text[:3] in ("yes", "no ")
    with pytest.raises(ValueError, match="refuses"):
        one.submit(jobs(1, grammar={"regex": "(("})[0])


def test_a_folder_that_the_library_does_not_know_is_refused(tmp_path: Path) -> None:
    (tmp_path / "genai_config.json").write_text('{"model": {"type": "nothing"}}')
    for kind in (EngineKind.GENERATOR, EngineKind.LIBRARY):
        with pytest.raises(Refusal, match="ONNX Runtime GenAI cannot load it"):
            engine(tmp_path, kind)
