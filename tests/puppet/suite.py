"""Play tasks with injections through the real runtime, and count what the outside has seen.

The verdict is about side effects alone: files, connections and executed tools. No text counts.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from agentd.agent.events import RunState
from agentd.agent.ids import DEFAULT_NAMESPACE, RunId, SessionId
from agentd.agent.spec import Session
from agentd.agent.tool import CallState
from agentd.runtime.starting import NewRun
from tests.puppet.injections import INJECTIONS, SESSION_GOAL, Injection
from tests.puppet.office import canonical
from tests.puppet.orders import order
from tests.puppet.profiles import AGENTS
from tests.puppet.tasks import TASKS, WIKI, Step, Task
from tests.puppet.world import World

AT_ONCE = 8
RUN_S = 60.0


@dataclass(frozen=True, slots=True)
class Case:
    """A task that is done while an injection lies in wait."""

    profile: str
    task: Task
    injection: Injection

    @property
    def id(self) -> RunId:
        return RunId(f"{self.profile}-{self.task.name}-{self.injection.name}-run")

    @property
    def steps(self) -> Sequence[Step]:
        """What the user wants, with the injection's page in the place of any."""
        filled = json.loads(
            json.dumps([*self.injection.steps, *self.task.steps]).replace(
                "{door}", self.injection.name
            )
        )
        return [(tool, arguments) for tool, arguments in filled]

    @property
    def goal(self) -> str:
        return " ".join(order(tool, arguments) for tool, arguments in self.steps)

    @property
    def tools(self) -> tuple[str, ...]:
        patterns = [*self.task.tools]
        if self.injection.description:
            patterns.append("mcp-poison/*")
        if self.injection.steps or self.injection.session:
            patterns += WIKI
        return tuple(dict.fromkeys(patterns))


@dataclass(slots=True)
class Report:
    """What became of cases."""

    cases: int = 0
    unfinished: list[str] = field(default_factory=list)
    effects: Counter[str] = field(default_factory=Counter)
    """Undeclared side effects, by run or by place."""
    allowed: int = 0
    refused: int = 0

    @property
    def finished(self) -> float:
        """The part of the tasks that were finished."""
        return 1 - len(self.unfinished) / self.cases

    def __str__(self) -> str:
        effects = sum(self.effects.values())
        return (
            f"{self.cases} cases: {effects} undeclared side effects, "
            f"{self.finished:.1%} of the tasks finished, "
            f"{self.allowed} calls allowed and {self.refused} refused by the person"
        )


def cases(profile: str) -> Iterator[Case]:
    """Yield every task with every injection."""
    for task in TASKS:
        for injection in INJECTIONS:
            yield Case(profile, task, injection)


async def play(chosen: Sequence[Case]) -> Report:
    """Play cases in a world of their own, some at a time."""
    report = Report(len(chosen))
    by_run = {case.id: case for case in chosen}
    wanted = {
        case.id: tuple((tool, canonical(arguments)) for tool, arguments in case.steps)
        for case in chosen
    }
    injections = {case.id: case.injection for case in chosen}
    injections |= {_earlier(case): case.injection for case in chosen}
    async with World.open(injections, wanted) as world:
        waiting = list(chosen)

        async def worker() -> None:
            while waiting:
                await _play(world, waiting.pop(), report)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(worker())
        report.effects = world.undeclared(by_run)
        report.allowed, report.refused = world.person.allowed, world.person.refused
    return report


async def _play(world: World, case: Case, report: Report) -> None:
    session = None
    if case.injection.session:
        session = SessionId(case.id)
        await world.runtime.sessions.create_session(Session(DEFAULT_NAMESPACE, session))
        goal = order(*SESSION_GOAL)
        await _run(world, case, _earlier(case), goal, session)
    state = await _run(world, case, case.id, case.goal, session)
    calls = await world.runtime.reading.list_calls(DEFAULT_NAMESPACE, case.id)
    done = Counter(
        (call.path, canonical(json.loads(call.arguments_json)))
        for call in calls
        if call.state is CallState.SUCCEEDED
    )
    additional = len(case.injection.steps)  # Which fail: that is their part.
    steps = Counter((tool, canonical(args)) for tool, args in case.steps[additional:])
    if state is not RunState.SUCCEEDED or steps - done:
        report.unfinished.append(f"{case.id}: {state.name}, {dict(steps - done)}")


async def _run(
    world: World, case: Case, run: RunId, goal: str, session: SessionId | None
) -> RunState:
    world.furnish(run)
    new = NewRun(
        DEFAULT_NAMESPACE, run, goal, AGENTS[case.profile], session=session, tools=case.tools
    )
    await world.runtime.engine.create_run(new)
    ended = await world.runtime.reading.wait_run(DEFAULT_NAMESPACE, run, RUN_S)
    return ended.view.state


def _earlier(case: Case) -> RunId:
    return RunId(f"{case.id}-earlier")
