"""How many tokens are guessed: as many as pay, on a machine that is not alone."""

from __future__ import annotations

import random
import re

import pytest

from packager.runtime.generative.controller import Controller


def test_guessing_that_does_not_pay_is_switched_off_and_tried_again() -> None:
    asked = "".join("g" if count else "." for count in played(Controller(4), 0.1, 0.0, 600))
    trials = [trial for trial in asked.split(32 * ".") if trial.strip(".")]
    assert all(trial.count("g") <= 8 for trial in trials)
    first, second, third = (len(pause) for pause in re.findall(r"\.{32,}", asked)[:3])
    assert 32 < first < second < third


def played(controller: Controller, each: float, right: float, steps: int) -> list[int]:
    """The numbers of guesses that a controller asks for where a guess takes `each` plain steps and
    is right so often."""
    chance, asked = random.Random(4), []
    for _ in range(steps):
        count = controller.wanted
        asked.append(count)
        if not count:
            controller.plain(1.0)
            continue
        stood = 0
        while stood < count and chance.random() < right:
            stood += 1
        controller.guessed(count, count, stood, 1.05 + each * count)
    return asked


@pytest.mark.parametrize(
    ("each", "right", "fewest", "most"),
    [(0.1, 0.95, 6, 8), (0.4, 0.7, 1, 2), (0.2, 0.7, 2, 4), (0.1, 0.0, 0, 0), (1.2, 0.9, 0, 0)],
)
def test_as_many_are_guessed_as_pay(each: float, right: float, fewest: int, most: int) -> None:
    asked = sorted(played(Controller(8), each, right, 400)[200:])
    assert fewest <= asked[len(asked) // 2] <= most


def test_steps_that_were_held_up_say_nothing_about_guessing() -> None:
    """On a machine with other work one step in five takes many times as long."""
    controller, chance = Controller(4), random.Random(2)
    asked = []
    for _ in range(600):
        held_up = 12.0 if chance.random() < 0.2 else 1.0
        count = controller.wanted
        asked.append(count)
        if count:
            controller.guessed(count, count, min(count, 3), (1 + 0.1 * count) * held_up)
        else:
            controller.plain(held_up)
    assert sum(count > 0 for count in asked) > 500
    assert controller.gain > 1.5


def test_a_drafter_that_never_offers_anything_is_left_alone_when_it_thinks_long() -> None:
    for thought, leaves in ((0.2, True), (0.001, False)):
        controller = Controller()
        controller.plain(1.0)
        asked = 0
        for _ in range(200):
            asked += controller.wanted > 0
            controller.plain(1.0, thought if controller.wanted else 0.0)
        assert (asked < 100) == leaves


def test_thinking_that_came_to_nothing_is_a_cost() -> None:
    """One step in ten has a guess, which stands; each of the others costs a tenth of a step."""
    controller = Controller(1)
    controller.plain(1.0)
    offered = 0
    for step in range(400):
        if not controller.wanted or step % 10:
            controller.plain(1.0, 0.1 if controller.wanted else 0.0)
        else:
            controller.guessed(1, 1, 1, 1.3)
            offered += 1
    assert offered < 20
