"""Room for the daemon's own tools: bounded, given in turn, and never kept for nobody."""

import random

import pytest

from agentd.agent.ids import DEFAULT_AGENT, DEFAULT_NAMESPACE, RunId, RunIdentity, RunKey
from agentd.runtime.local import LocalLimits, LocalTools

PATHS = ("a/x", "a/y", "b/z")


def run(number: int) -> RunIdentity:
    return RunIdentity(RunKey(number), DEFAULT_NAMESPACE, RunId(f"r{number}"), DEFAULT_AGENT)


class Room(LocalTools):
    """Notes who is woken."""

    def __init__(self, max_calls: int, max_calls_per_tool: int) -> None:
        super().__init__(None, LocalLimits(max_calls, max_calls_per_tool))
        self.woken: list[RunIdentity] = []
        self.wake = self.woken.append


def test_a_tool_has_so_much_room_and_the_daemon_has_so_much() -> None:
    room = Room(max_calls=3, max_calls_per_tool=2)
    assert room.acquire(run(1), "a/x")
    assert room.acquire(run(2), "a/x")
    assert not room.acquire(run(3), "a/x")
    assert room.acquire(run(4), "a/y")
    assert not room.acquire(run(5), "b/z")


def test_the_first_in_line_is_woken_and_finds_its_room() -> None:
    room = Room(max_calls=1, max_calls_per_tool=1)
    assert room.acquire(run(1), "a/x")
    assert not room.acquire(run(2), "a/x")
    assert not room.acquire(run(3), "a/x")
    room.release("a/x")
    assert room.woken == [run(2)]
    assert not room.acquire(run(4), "a/x")  # Not past those who wait.
    assert room.acquire(run(2), "a/x")
    room.release("a/x")
    assert room.woken == [run(2), run(3)]


def test_room_that_a_woken_run_does_not_want_goes_to_the_next() -> None:
    room = Room(max_calls=1, max_calls_per_tool=1)
    assert room.acquire(run(1), "a/x")
    for number in (2, 3):
        assert not room.acquire(run(number), "a/x")
    room.release("a/x")
    room.pass_on(run(2))
    assert room.woken == [run(2), run(3)]
    assert room.acquire(run(3), "a/x")


def test_a_run_that_has_ended_is_not_woken_and_keeps_nothing() -> None:
    room = Room(max_calls=1, max_calls_per_tool=1)
    assert room.acquire(run(1), "a/x")
    for number in (2, 3):
        assert not room.acquire(run(number), "a/x")
    room.forget(run(2))
    room.release("a/x")
    assert room.woken == [run(3)]
    room.forget(run(3))
    assert room.acquire(run(4), "a/x")


@pytest.mark.parametrize("seed", range(30))
def test_nobody_waits_while_there_is_room(seed: int) -> None:
    """Whatever runs do, the bounds hold, and once all that was taken is returned nobody waits."""
    chance = random.Random(seed)
    room = Room(max_calls=3, max_calls_per_tool=2)
    held: list[tuple[RunIdentity, str]] = []
    wanted: dict[RunIdentity, str] = {}

    def ask(who: RunIdentity) -> None:
        path = wanted.get(who)
        if path and room.acquire(who, path):
            held.append((who, path))
            del wanted[who]
        room.pass_on(who)

    def settle() -> None:
        while room.woken:
            ask(room.woken.pop(0))

    for number in range(200):
        who = run(number)
        wanted[who] = chance.choice(PATHS)
        ask(who)
        if chance.random() < 0.2:
            gone = chance.choice(list(wanted) or [who])
            wanted.pop(gone, None)
            room.forget(gone)
        if held and chance.random() < 0.6:
            room.release(held.pop(chance.randrange(len(held)))[1])
        settle()
        assert len(held) <= 3
        assert all(sum(path == each for _, each in held) <= 2 for path in PATHS)
    while held:
        room.release(held.pop()[1])
        settle()
    assert not wanted
