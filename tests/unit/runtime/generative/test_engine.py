"""The engine on a real decoder: nothing that others do, and nothing that is guessed, shows."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_decoder import save_decoder

from packager.runtime.generative.decoder import SlotDecoder
from packager.runtime.generative.drafting import Drafter, ModelDrafter, PromptLookup
from packager.runtime.generative.engine import Engine, Limits
from packager.runtime.generative.jobs import Event, Finish, Job
from packager.runtime.generative.sampling import Sampler, SamplingSettings
from packager.runtime.generative.settings import Decoder

VOCABULARY = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("decoder")
    save_decoder(folder / "model.onnx")
    save_decoder(folder / "draft.onnx", seed=2, layers=1, hidden=32)
    return folder


def decoder(folder: Path, slots: int, name: str = "model.onnx", layers: int = 2) -> SlotDecoder:
    return SlotDecoder(folder, Decoder(name, layers, 2, 16, 1), slots, 256)


def jobs(count: int = 12, length: int = 40, **changes: object) -> list[Job]:
    chance = random.Random(3)
    return [
        Job(
            number,
            tuple(chance.randrange(1, VOCABULARY) for _ in range(chance.randint(1, 30))),
            length,
            **changes,  # type: ignore[arg-type]
        )
        for number in range(count)
    ]


def run(engine: Engine, waiting: Sequence[Job], every: int = 3) -> dict[int, list[int]]:
    """Answers by job; the jobs arrive one by one, every few steps."""
    answers: dict[int, list[int]] = {job.id: [] for job in waiting}
    left, step = list(waiting), 0
    while left or engine.busy:
        if left and step % every == 0:
            engine.submit(left.pop(0))
        for event in engine.step():
            answers[event.job] += [chosen.token for chosen in event.chosen]
        step += 1
    return answers


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for job in jobs():
        found |= run(Engine(decoder(folder, 1), [0], Limits(prefill_chunk=64)), [job])
    assert len({tuple(answer) for answer in found.values()}) > 6, "the model is no test: it loops"
    return found


@pytest.mark.parametrize("slots", [1, 2, 4, 8])
@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_company_changes_no_answer(
    folder: Path, alone: dict[int, list[int]], slots: int, chunk: int
) -> None:
    engine = Engine(decoder(folder, slots), [0], Limits(prefill_chunk=chunk))
    assert run(engine, jobs()) == alone


@pytest.mark.parametrize("tokens", [1, 3, 6])
@pytest.mark.parametrize("kind", ["lookup", "draft", "itself", "random"])
def test_guesses_change_no_greedy_answer(
    folder: Path, alone: dict[int, list[int]], kind: str, tokens: int
) -> None:
    drafters: dict[str, Drafter] = {
        "lookup": PromptLookup(2),
        "draft": ModelDrafter(decoder(folder, 1, "draft.onnx", 1)),
        "itself": ModelDrafter(decoder(folder, 1)),
        "random": _Noise(),
    }
    engine = Engine(decoder(folder, 1), [0], Limits(drafted=tokens), drafters[kind])
    assert run(engine, jobs()) == alone
    assert engine.controller.drafted > 0
    if kind == "itself":
        assert engine.controller.accepted == engine.controller.drafted


class _Noise:
    def __init__(self) -> None:
        self._chance = random.Random(9)

    def guess(self, slot: int, tokens: Sequence[int], most: int) -> list[int]:
        return [self._chance.randrange(1, VOCABULARY) for _ in range(most)]

    def forget(self, slot: int) -> None:
        pass


def test_a_seed_is_an_answer_whatever_the_company(folder: Path) -> None:
    sampled = jobs(6, sampling=SamplingSettings(temperature=0.9, top_p=0.95, seed=11))
    single = {}
    for job in sampled:
        single |= run(Engine(decoder(folder, 1), [0], Limits()), [job])
    assert run(Engine(decoder(folder, 4), [0], Limits()), sampled) == single


def test_a_late_arrival_has_its_first_token_soon(folder: Path) -> None:
    engine = Engine(decoder(folder, 4), [0], Limits(prefill_chunk=16))
    for job in jobs(3, 100, ignore_end=True):
        engine.submit(job)
    for _ in range(20):
        engine.step()
    late = Job(99, (5, 6, 7), 10)
    engine.submit(late)
    steps = 0
    while not any(event.job == 99 for event in engine.step()):
        steps += 1
    assert steps <= 1


def test_a_long_prompt_does_not_stop_the_others(folder: Path) -> None:
    engine = Engine(decoder(folder, 2), [0], Limits(prefill_chunk=16))
    engine.submit(Job(1, (5,), 100, ignore_end=True))
    engine.step()
    engine.submit(Job(2, tuple(range(1, 201)), 5))
    for _ in range(12):
        assert any(event.job == 1 for event in engine.step())


def test_cancelling_frees_the_slot_at_once_and_says_nothing_more(folder: Path) -> None:
    engine = Engine(decoder(folder, 1), [0], Limits())
    first, second = jobs(2, 50, ignore_end=True)
    engine.submit(first)
    engine.submit(second)
    engine.step()
    engine.cancel(first.id)
    assert engine.active == 0
    events = [event for _ in range(10) for event in engine.step()]
    assert {event.job for event in events} == {second.id}
    engine.cancel(second.id)
    assert not engine.busy


def finished(engine: Engine, job: Job) -> Event:
    engine.submit(job)
    while True:
        for event in engine.step():
            if event.finish is not None:
                return event


def test_many_requests_of_one_caller_do_not_keep_anothers_waiting(folder: Path) -> None:
    engine = Engine(decoder(folder, 2), [0], Limits(prefill_chunk=64))
    for number in range(8):
        engine.submit(Job(number, (1 + number, 2), 6, tenant="many", ignore_end=True))
    engine.step()
    for number, tenant in ((10, "one"), (11, "one"), (20, "two")):
        engine.submit(Job(number, (5, 6), 6, tenant=tenant, ignore_end=True))
    ended = [event.job for _ in range(60) for event in engine.step() if event.finish]
    assert ended[:2] == [0, 1], "what has begun is finished"
    assert len(ended) == 11
    # By waiting alone they would be the last three of eleven.
    assert (ended.index(10) < 4, ended.index(20) < 6) == (True, True), ended


def test_a_prefix_is_read_once_for_one_tenant_and_never_for_another(folder: Path) -> None:
    engine = Engine(decoder(folder, 1), [0], Limits())
    prompt = tuple(range(1, 41))
    assert finished(engine, Job(1, prompt, 3, tenant="a")).cached == 0
    assert finished(engine, Job(2, (*prompt, 77), 3, tenant="a")).cached == 40
    assert finished(engine, Job(3, (*prompt, 78), 3, tenant="b")).cached == 0
    shared = Engine(decoder(folder, 1), [0], Limits(shared_prefixes=True))
    finished(shared, Job(1, prompt, 3, tenant="a"))
    assert finished(shared, Job(2, (*prompt, 77), 3, tenant="b")).cached == 40


def test_a_cached_prefix_changes_no_answer(folder: Path) -> None:
    prompt = tuple(range(1, 41))
    fresh = run(Engine(decoder(folder, 1), [0], Limits()), [Job(7, (*prompt, 77), 30)])
    engine = Engine(decoder(folder, 1), [0], Limits())
    finished(engine, Job(1, prompt, 20))
    assert run(engine, [Job(7, (*prompt, 77), 30)]) == fresh


def test_the_end_and_the_length(folder: Path) -> None:
    job = Job(1, (5, 6), 6)
    answer = run(Engine(decoder(folder, 1), [], Limits()), [job])[1]
    assert len(answer) == 6
    ended = finished(Engine(decoder(folder, 1), [answer[2]], Limits()), job)
    assert ended.finish is Finish.STOP
    assert finished(Engine(decoder(folder, 1), [], Limits()), job).finish is Finish.LENGTH


def test_what_no_slot_could_hold_is_refused(folder: Path) -> None:
    engine = Engine(decoder(folder, 1), [0], Limits())
    with pytest.raises(ValueError, match="256"):
        engine.submit(Job(1, tuple(range(1, 251)), 10))
    with pytest.raises(ValueError, match="no tokens"):
        engine.submit(Job(1, (), 10))


class _NoWayOn:
    """A grammar that nothing may follow, after a few tokens."""

    def __init__(self, after: int) -> None:
        self._left = after

    def allowed(self) -> Any:
        self._left -= 1
        return np.full(VOCABULARY, self._left >= 0)

    def took(self, token: int) -> bool:
        return False


class _Fails:
    def allowed(self) -> Any:
        return None

    def took(self, token: int) -> bool:
        raise RuntimeError("a library that fails")


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("drafter", [None, PromptLookup(2)], ids=["plain", "guessing"])
def test_what_one_request_breaks_ends_that_one_alone(
    folder: Path, alone: dict[int, list[int]], temperature: float, drafter: Drafter | None
) -> None:
    """A token that the model does not have, a grammar without a way on, a library that fails."""
    breaking = [
        Job(100, (1, 2), 40, SamplingSettings(temperature, logit_bias={VOCABULARY: 1.0})),
        Job(101, (1, 2), 40, SamplingSettings(temperature), constraint=_NoWayOn(3)),
        Job(102, (1, 2), 40, SamplingSettings(temperature), constraint=_Fails()),
    ]
    engine = Engine(decoder(folder, 2), [0], Limits(prefill_chunk=64), drafter)
    waiting = [job for pair in zip(jobs(), [*breaking, *[None] * 9], strict=True) for job in pair]
    answers: dict[int, list[int]] = {}
    failed: dict[int, str | None] = {}
    for job in waiting:
        if job is not None:
            engine.submit(job)
    while engine.busy:
        for event in engine.step():
            answers.setdefault(event.job, []).extend(one.token for one in event.chosen)
            if event.failed:
                assert event.finish is None
                failed[event.job] = event.failed
    assert failed == {
        100: "the answer broke off: IndexError",
        101: "the answer broke off: ValueError",
        102: "the answer broke off: RuntimeError",
    }
    assert {job: answers[job] for job in alone} == alone
    assert (engine.active, engine.waiting, len(answers[101])) == (0, 0, 3)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("figure", [np.nan, -np.inf])
def test_figures_that_are_no_numbers_are_no_token(temperature: float, figure: float) -> None:
    sampler = Sampler(SamplingSettings(temperature), [1])
    with pytest.raises(ValueError, match="no token may follow"):
        sampler.choose(np.full(8, figure, np.float32))


def test_guesses_leave_the_distribution_alone() -> None:
    """Rejection sampling: the first token is distributed as if nothing had been guessed."""
    from packager.runtime.generative.sampling import Sampler

    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05]))
    settings = SamplingSettings(temperature=1.0, seed=5)
    sampler = Sampler(settings, [])
    counts = np.zeros(4)
    for number in range(8000):
        counts[sampler.accepts(number % 4, logits)[1].token] += 1
    assert np.abs(counts / counts.sum() - [0.5, 0.3, 0.15, 0.05]).max() < 0.02


class _Counting(SlotDecoder):
    """Notes how many tokens are read in each run, and of which prompts."""

    def __init__(self, folder: Path, slots: int) -> None:
        super().__init__(folder, Decoder("model.onnx", 2, 2, 16, 1), slots, 256)
        self.runs: list[list[int]] = []

    def read(self, slot: int, tokens: Sequence[int]) -> Any:
        self.runs.append([len(tokens)])
        return super().read(slot, tokens)

    def begin(self, prompts: Mapping[int, Sequence[int]]) -> Any:
        self.runs.append([len(tokens) for tokens in prompts.values()])
        return super().begin(prompts)


def test_short_prompts_share_a_chunk_and_whoever_speaks_waits_for_one_at_most(folder: Path) -> None:
    one = _Counting(folder, 6)
    engine = Engine(one, [0], Limits(prefill_chunk=16))
    engine.submit(Job(9, (5,), 50, ignore_end=True))
    engine.step()
    for number, length in enumerate((6, 7, 30, 2)):
        engine.submit(Job(number, tuple(range(1, 1 + length)), 50, ignore_end=True))
    seen = []
    while not seen or one.runs:
        one.runs.clear()
        engine.step()
        seen.append(list(one.runs))
    assert seen == [[[6, 7]], [[16]], [[14], [2]], []]


def test_prompts_that_come_to_an_idle_engine_begin_together(folder: Path) -> None:
    """Two chunks at a time while nobody speaks; of one length nearly in one run, others apart."""
    one = _Counting(folder, 6)
    engine = Engine(one, [0], Limits(prefill_chunk=16))
    for number, length in enumerate((10, 9, 1, 8, 16)):
        prompt = tuple(range(1 + number, 1 + number + length))
        engine.submit(Job(number, prompt, 50, ignore_end=True))
    events = engine.step()
    assert one.runs == [[10, 9], [1], [8]]
    assert sorted(event.job for event in events) == [0, 1, 2, 3]


def test_what_is_read_in_one_run_is_what_each_would_have_been_alone(folder: Path) -> None:
    """To the bit: a prompt that is filled up, one that is longer, and the same slots again."""
    prompts = [tuple(range(1, 1 + length)) for length in (12, 9, 13, 11)]
    apart, together = decoder(folder, 4), decoder(folder, 4)
    for _ in range(2):
        for one in (apart, together):
            for slot in range(4):
                one.back_to(slot, 0)
        expected = {slot: apart.read(slot, tokens)[-1] for slot, tokens in enumerate(prompts)}
        found = together.begin(dict(enumerate(prompts)))
        assert together.lengths == apart.lengths
        for _ in range(70):  # over the end of a block of the mask
            for slot in range(4):
                np.testing.assert_array_equal(found[slot], expected[slot])
            said = {slot: int(row.argmax()) for slot, row in found.items()}
            expected, found = apart.step(said), together.step(said)
        prompts.reverse()


def test_prompts_that_continue_a_prefix_are_read_by_themselves(folder: Path) -> None:
    one = _Counting(folder, 3)
    engine = Engine(one, [0], Limits())
    first = Job(1, tuple(range(1, 9)), 2, ignore_end=True)
    run(engine, [first])
    one.runs.clear()
    for number in (2, 3, 4):
        engine.submit(Job(number, (*first.prompt, number), 2, ignore_end=True))
    engine.step()
    assert one.runs == [[1], [9, 9]]


@pytest.mark.parametrize("slots", [1, 3])
def test_what_is_bound_once_reads_as_what_is_bound_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch, slots: int
) -> None:
    """A few tokens at a time, in any slot, over the ends of the mask's blocks and back again."""
    kept, anew = decoder(folder, slots), decoder(folder, slots)
    random_ = random.Random(7)
    for turn in range(120):
        slot = random_.randrange(slots)
        at_most = kept.slot_tokens - kept.lengths[slot]
        tokens = [random_.randrange(1, 60) for _ in range(random_.randint(1, min(9, at_most)))]
        found = kept.read(slot, tokens)
        with monkeypatch.context() as patch:
            patch.setattr("packager.runtime.generative.decoder._STEP_TOKENS", 0)
            expected = anew.read(slot, tokens)
        np.testing.assert_array_equal(found, expected)
        assert kept.lengths == anew.lengths
        if turn % 5 == 0 or kept.lengths[slot] > kept.slot_tokens - 10:
            back = random_.randrange(kept.lengths[slot])
            kept.back_to(slot, back)
            anew.back_to(slot, back)
