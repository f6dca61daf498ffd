"""The engine: conversations in slots, one step after the other. Batch when busy, guess when idle.

A step admits who waits into free slots, reads one chunk of new prompts, and gives every
conversation that has begun its next token: all of them in one run of the model, or, while few are
there, several guessed tokens each. So a long prompt never stops the others, and a late arrival gets
its first token as soon as a slot is free. Used by one thread alone.

A slot that is free keeps what it read. A new prompt that begins the same way, of the same caller,
continues from there (prefix cache).
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .controller import Controller
from .drafting import Drafter
from .jobs import Array, Decoder, Event, Finish, Job, check_size
from .sampling import Chosen, Sampler

_FILLED_AT_MOST = (
    1.25  # tokens that are read in one run of several prompts over those of the prompts
)


@dataclass
class _Conversation:
    job: Job
    sampler: Sampler
    tokens: list[int]
    said: int = 0
    cached: int = 0
    begun: bool = False

    @property
    def prompt_left(self) -> bool:
        return not self.begun


@dataclass(frozen=True, slots=True)
class Limits:
    """How the engine is run; see `settings.GenerativeSettings`."""

    prefill_chunk: int = 64
    drafted: int = 4
    most_active: int = 1
    shared_prefixes: bool = False


class Engine:
    """Slots of one decoder, and the queue before them."""

    def __init__(
        self,
        decoder: Decoder,
        end_tokens: Sequence[int],
        limits: Limits,
        drafter: Drafter | None = None,
    ) -> None:
        self._decoder = decoder
        self._ends = frozenset(end_tokens)
        self._limits = limits
        self._drafter = drafter
        self.controller = Controller(limits.drafted)
        self._waiting: deque[Job] = deque()
        self._turns: dict[str, int] = {}
        self._active: dict[int, _Conversation] = {}
        self._kept: dict[int, tuple[str, list[int]]] = {}
        self.steps = 0
        self.tokens = 0
        self.cached_tokens = 0

    @property
    def busy(self) -> bool:
        return bool(self._active or self._waiting)

    @property
    def active(self) -> int:
        return len(self._active)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def stats(self) -> dict[str, float]:
        """The figures that `/metrics` tells."""
        return {
            "active": self.active,
            "waiting": self.waiting,
            "steps": self.steps,
            "tokens": self.tokens,
            "cached_tokens": self.cached_tokens,
            "drafted": self.controller.drafted,
            "accepted": self.controller.accepted,
            "gain": round(self.controller.gain, 3),
        }

    def submit(self, job: Job) -> None:
        """Raises ValueError for a job that no slot could hold."""
        check_size(job, self._decoder.slot_tokens)
        self._waiting.append(job)

    def cancel(self, job: int) -> None:
        """Forget a job at once; it has no further events."""
        self._waiting = deque(one for one in self._waiting if one.id != job)
        for slot, conversation in list(self._active.items()):
            if conversation.job.id == job:
                self._release(slot)

    def step(self) -> list[Event]:
        """One step; its events are in no particular order."""
        self.steps += 1
        self._admit()
        events = self._read_prompts()
        fresh = {event.job for event in events}
        speaking = [
            slot for slot, one in self._active.items() if one.begun and one.job.id not in fresh
        ]
        if speaking:
            events += self._speak(sorted(speaking))
        return events

    def _admit(self) -> None:
        while self._waiting and len(self._active) < self._decoder.slots:
            job = self._next_in_turn()
            slot, same = self._best_slot(job)
            self._kept.pop(slot, None)
            self._decoder.back_to(slot, same)
            if self._drafter is not None:
                self._drafter.forget(slot)
            self.cached_tokens += same
            self._active[slot] = _Conversation(
                job, Sampler(job.sampling, job.prompt), list(job.prompt), cached=same
            )

    def _next_in_turn(self) -> Job:
        """The longest waiting one of the caller who has the fewest slots, and of several such of
        whose last turn is longest ago: many requests of one do not keep another's first waiting."""
        having = Counter(one.job.tenant for one in self._active.values())
        turns = [(having[one.tenant], self._turns.get(one.tenant, 0)) for one in self._waiting]
        place = turns.index(min(turns))
        job = self._waiting[place]
        del self._waiting[place]
        latest = max(self._turns.values(), default=0)
        waiting = {one.tenant for one in self._waiting}
        self._turns = {one: turn for one, turn in self._turns.items() if one in waiting}
        self._turns[job.tenant] = latest + 1
        return job

    def _best_slot(self, job: Job) -> tuple[int, int]:
        """The free slot that knows most of the prompt already, and how much of it; the lowest one
        of those that know nothing, so that batches stay narrow."""
        best, most = -1, -1
        for slot in range(self._decoder.slots):
            if slot in self._active:
                continue
            same = 0
            tenant, kept = self._kept.get(slot, ("", []))
            if kept and (self._limits.shared_prefixes or tenant == job.tenant):
                same = _common(kept, job.prompt)
            # At least one token must be read, to have something to go on from.
            same = min(same, len(job.prompt) - 1)
            if same > most:
                best, most = slot, same
        return best, most

    def _read_prompts(self) -> list[Event]:
        """One chunk of tokens: of the prompt that waits longest, and of those behind it whatever
        fits into the chunk to its end. The others wait for a chunk, whoever it is read for; while
        there are no others, two chunks are read at a time, so that more can begin together."""
        chunk = self._limits.prefill_chunk
        left = chunk if any(one.begun for one in self._active.values()) else 2 * chunk
        whole: dict[int, list[int]] = {}
        for slot, one in self._active.items():
            if one.begun:
                continue
            rest = one.tokens[self._decoder.lengths[slot] :]
            if len(rest) > min(left, chunk):
                if not whole:
                    self._decoder.read(slot, rest[:chunk])
                break
            whole[slot] = rest
            left -= len(rest)
        return [event for group in self._side_by_side(whole) for event in self._begun(group)]

    def _side_by_side(self, prompts: dict[int, list[int]]) -> Iterator[dict[int, list[int]]]:
        """Prompts that are better read in one run: in slots that lie side by side and know
        nothing yet, and of lengths so alike that little is filled up."""
        group: dict[int, list[int]] = {}
        for slot in sorted(prompts):
            more = group | {slot: prompts[slot]}
            filled = len(more) * max(map(len, more.values()))
            together = filled <= _FILLED_AT_MOST * sum(map(len, more.values()))
            fresh = not any(self._decoder.lengths[one] for one in more)
            if group and not (together and fresh and slot - 1 in group):
                yield group
                more = {slot: prompts[slot]}
            group = more
        if group:
            yield group

    def _begun(self, prompts: dict[int, list[int]]) -> list[Event]:
        """The first token of conversations whose prompts are read to their end with this."""
        if len(prompts) > 1:
            logits = self._decoder.begin(prompts)
        else:
            logits = {slot: self._decoder.read(slot, rest)[-1] for slot, rest in prompts.items()}
        for slot in prompts:
            self._active[slot].begun = True
        return [self._next(slot, row) for slot, row in logits.items()]

    def _speak(self, slots: list[int]) -> list[Event]:
        alone = len(self._active) <= self._limits.most_active
        if alone and self._drafter is not None and not self._waiting:
            return [self._guessing(slot) for slot in slots]
        logits = self._decoder.step({slot: self._active[slot].tokens[-1] for slot in slots})
        return [self._next(slot, logits[slot]) for slot in slots]

    def _next(self, slot: int, logits: Array) -> Event:
        """The next token of one conversation. What its own wishes break (figures that are no
        numbers, a grammar without a way on) ends it alone, and nobody else's."""
        one = self._active[slot]
        try:
            return self._said(slot, one, [one.sampler.choose(logits, _allowed(one))])
        except Exception as error:
            return self._failed(slot, one, error)

    def _guessing(self, slot: int) -> Event:
        """A step of one conversation with guessed tokens, if that is worth it at present."""
        one, controller = self._active[slot], self.controller
        began = time.perf_counter()
        guesses: list[int] = []
        asked = min(controller.wanted, one.job.max_tokens - one.said - 1)
        if asked > 0 and _may_be_guessed(one.job):
            assert self._drafter is not None  # noqa: S101 - asked for by the caller's condition
            guesses = self._drafter.guess(slot, one.tokens, asked)
        if not guesses:
            thought = time.perf_counter() - began if asked > 0 else 0.0
            logits = self._decoder.step({slot: one.tokens[-1]})[slot]
            event = self._next(slot, logits)
            controller.plain(time.perf_counter() - began - thought, thought)
            return event
        length = self._decoder.lengths[slot]
        rows = self._decoder.read(slot, [one.tokens[-1], *guesses])
        try:
            chosen, accepted = self._judged(one.sampler, guesses, rows)
        except Exception as error:
            self._decoder.back_to(slot, length)
            return self._failed(slot, one, error)
        # What was read beyond the accepted guesses is forgotten by going back.
        self._decoder.back_to(slot, length + len(chosen))
        controller.guessed(asked, len(guesses), accepted, time.perf_counter() - began)
        return self._said(slot, one, chosen)

    def _judged(
        self, sampler: Sampler, guesses: Sequence[int], rows: Array
    ) -> tuple[list[Chosen], int]:
        """The tokens that are said, and how many guesses were right."""
        chosen: list[Chosen] = []
        for accepted, (row, guess) in enumerate(zip(rows, guesses, strict=False)):
            stands, taken = sampler.accepts(guess, row)
            chosen.append(taken)
            if not stands or taken.token in self._ends:
                return chosen, accepted
        return [*chosen, sampler.choose(rows[-1])], len(guesses)

    def _failed(self, slot: int, one: _Conversation, error: Exception) -> Event:
        self._release(slot)
        return Event(
            one.job.id, (), None, one.cached, f"the answer broke off: {type(error).__name__}"
        )

    def _said(self, slot: int, one: _Conversation, chosen: list[Chosen]) -> Event:
        """Enter what was said; frees the slot when the answer ends with it."""
        kept: list[Chosen] = []
        finish = None
        for piece in chosen:
            if piece.token in self._ends and not one.job.ignore_end:
                finish = Finish.STOP
                break
            kept.append(piece)
            one.tokens.append(piece.token)
            one.said += 1
            complete = one.job.constraint is not None and one.job.constraint.took(piece.token)
            if complete:
                finish = Finish.STOP
                break
            if one.said >= one.job.max_tokens:
                finish = Finish.LENGTH
                break
        self.tokens += len(kept)
        if finish is not None:
            self._release(slot)
        return Event(one.job.id, tuple(kept), finish, one.cached)

    def _release(self, slot: int) -> None:
        one = self._active.pop(slot)
        read = min(self._decoder.lengths[slot], len(one.tokens))
        self._decoder.back_to(slot, read)
        self._kept[slot] = (one.job.tenant, one.tokens[:read])


def _may_be_guessed(job: Job) -> bool:
    """Guesses draw from the generator of the seed in another order, so that whoever names a seed
    and a temperature gets none: the answer must not depend on how busy the server is."""
    sampling = job.sampling
    return job.constraint is None and (sampling.temperature == 0 or sampling.seed is None)


def _allowed(one: _Conversation) -> Array | None:
    return None if one.job.constraint is None else one.job.constraint.allowed()


def _common(kept: Sequence[int], prompt: Sequence[int]) -> int:
    """How many tokens two texts begin with in common."""
    count = 0
    for one, other in zip(kept, prompt, strict=False):
        if one != other:
            break
        count += 1
    return count
