"""Runs are woken and stopped at their times, and what nobody waits for takes no room."""

import asyncio
from collections.abc import Awaitable, Callable

from agentd.agent.ids import DEFAULT_AGENT, DEFAULT_NAMESPACE, RunId, RunIdentity, RunKey
from agentd.runtime.timers import SPARE, Timers
from tests.simulation.loop import VirtualLoop


def run(number: int) -> RunIdentity:
    return RunIdentity(RunKey(number), DEFAULT_NAMESPACE, RunId(f"r{number}"), DEFAULT_AGENT)


class LoopClock:
    """The loop's time, as wall-clock time."""

    def now_ms(self) -> int:
        return 1_000_000 + round(asyncio.get_running_loop().time() * 1000)


def told(arrange: Callable[[Timers, int], Awaitable[None]]) -> list[tuple[str, int, int]]:
    """Return what timers did within ten seconds: what, to which run, and when in ms."""
    seen: list[tuple[str, int, int]] = []

    async def main() -> None:
        clock = LoopClock()
        start, timers = clock.now_ms(), Timers(clock)
        async with asyncio.TaskGroup() as group:
            keeper = group.create_task(
                timers.keep(
                    lambda key: seen.append(("wake", key, clock.now_ms() - start)),
                    lambda key: seen.append(("stop", key, clock.now_ms() - start)),
                )
            )
            await arrange(timers, start)
            await asyncio.sleep(10.0)
            keeper.cancel()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    return seen


def test_each_at_its_time() -> None:
    async def arrange(timers: Timers, start: int) -> None:
        timers.stop_at(run(1), start + 3_000)
        timers.wake_at(run(2), start + 2_000)
        await asyncio.sleep(0.5)
        timers.wake_at(run(3), start + 1_000)

    assert told(arrange) == [("wake", 3, 1_000), ("wake", 2, 2_000), ("stop", 1, 3_000)]


def test_of_two_times_the_earlier_counts_once() -> None:
    async def arrange(timers: Timers, start: int) -> None:
        timers.wake_at(run(1), start + 2_000)
        timers.wake_at(run(1), start + 1_000)
        timers.wake_at(run(1), start + 1_500)

    assert told(arrange) == [("wake", 1, 1_000)]


def test_a_run_may_be_woken_again_and_again() -> None:
    async def arrange(timers: Timers, start: int) -> None:
        for second in (1, 3, 5):
            timers.wake_at(run(1), start + 1_000 * second)
            await asyncio.sleep(2.0)

    assert [time_ms for _, _, time_ms in told(arrange)] == [1_000, 3_000, 5_000]


def test_an_ended_run_is_left_alone() -> None:
    async def arrange(timers: Timers, start: int) -> None:
        timers.wake_at(run(1), start + 1_000)
        timers.stop_at(run(1), start + 1_000)
        timers.stop_at(run(2), start + 1_000)
        timers.forget(run(1))

    assert told(arrange) == [("stop", 2, 1_000)]


def test_what_is_kept_is_bounded_by_the_runs() -> None:
    async def arrange(timers: Timers, start: int) -> None:
        for number in range(10_000):
            timers.stop_at(run(number), start + 3_600_000)
            timers.wake_at(run(1), start + 3_600_000 - number)
            if number > 10:
                timers.forget(run(number))
        for times in (timers._deadlines, timers._wakes):
            assert len(times) <= 2 * 12 + SPARE + 1

    assert told(arrange) == []
