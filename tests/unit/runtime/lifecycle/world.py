"""A runtime with scripted phases: a house for runs of the protocol `lifecycle`."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from agentd.agent.budget import Budget
from agentd.agent.events import Entry, Event
from agentd.agent.hosting import Invocation, InvocationKind, Outcome, Succeeded
from agentd.agent.ids import DEFAULT_NAMESPACE, AgentId, RunIdentity
from agentd.agent.lifecycle import NewMemory, RecalledMemory
from agentd.agent.message import Purpose
from agentd.agent.permission import Decision, Labels, Rule
from agentd.agent.run import Run
from agentd.agent.spec import Agent, ProtocolKind
from agentd.agent.tool import EffectClass, Tool
from agentd.context.models.script import parse_script
from agentd.runtime.journal.sqlite import SqliteJournal
from agentd.runtime.ports import Remembering
from agentd.runtime.runtime import Outside, Runtime, RuntimeLimits
from agentd.runtime.starting import NewRun
from agentd.runtime.system import SystemClock, SystemEntropy
from tests.fakes.models import ScriptedModels
from tests.invariants import check_run

AGENT = AgentId("planner")
WAIT_S = 10.0

Answers = Mapping[str, Sequence[Any]]
"""What each purpose answers, in order: the arguments of its submission, or a text for a task."""


def submit(purpose: Purpose, answer: Any) -> dict[str, Any]:
    """Return a turn that submits an answer."""
    names = {
        Purpose.PLANNING: "submit_plan",
        Purpose.SIMULATION: "submit_verdict",
        Purpose.FEEDBACK: "submit_feedback",
        Purpose.MEMORY: "submit_memories",
        Purpose.REFLECTION: "submit_reflection",
    }
    return {"calls": [{"tool": names[purpose], "arguments": answer}]}


def task(id: str, *dependencies: str, **more: Any) -> dict[str, Any]:
    """Return a task of a plan."""
    return {
        "id": id,
        "objective": f"do {id}",
        "criterion": f"{id} is done",
        "dependencies": list(dependencies),
        **more,
    }


PROCEED = {"verdict": "PROCEED", "reason": "it will do"}
ACCEPT = {"choice": "ACCEPT", "reason": "the criterion is met"}
LEARNED = {"episode": "it was done"}
DONE = {"achieved": True, "answer": "All is done."}


_AGAIN: dict[str, Any] = {"repeat": 0}


def conversation(purpose: Purpose, turns: Sequence[Any], **conditions: str) -> dict[str, Any]:
    """Return a conversation of a script. A mapping is submitted, or is a turn if it says calls."""
    made: list[dict[str, Any]] = []
    for turn in turns:
        if isinstance(turn, str):
            made.append({"text": turn})
        elif "calls" in turn or "text" in turn or "faults" in turn:
            made.append(turn)
        else:
            made.append(submit(purpose, turn))
    made[-1] = {**made[-1], **_AGAIN}
    return {"purpose": purpose.name, "turns": made, **conditions}


def script(*own: Mapping[str, Any], plan: Any = None) -> dict[str, Any]:
    """Return a script in which everything goes well, but for the conversations given."""
    rest = [
        conversation(Purpose.PLANNING, [plan or {"tasks": [task("one")]}]),
        conversation(Purpose.SIMULATION, [PROCEED]),
        conversation(Purpose.EXECUTION, ["the result"]),
        conversation(Purpose.FEEDBACK, [ACCEPT]),
        conversation(Purpose.MEMORY, [LEARNED]),
        conversation(Purpose.REFLECTION, [DONE]),
    ]
    usage = {"input_tokens": 20, "output_tokens": 5}
    return {"usage": usage, "conversations": [*own, *rest]}


class Memory:
    """The port `Remembering`, in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, NewMemory] = {}
        self.queries: list[str] = []

    async def recall(self, run: RunIdentity, query: str) -> Sequence[RecalledMemory]:
        del run
        self.queries.append(query)
        return [
            RecalledMemory(name, memory.kind, memory.text, "all is told", Labels(private=True))
            for name, memory in self.kept.items()
        ]

    async def remember(
        self, run: RunIdentity, key: str, memories: Sequence[NewMemory], labels: Labels
    ) -> Sequence[str]:
        del labels
        names = [f"m-{run.id}-{key}-{index}" for index in range(len(memories))]
        for name, memory in zip(names, memories, strict=True):
            self.kept.pop(memory.replaces, None)
            self.kept[name] = memory
        return names


class Box:
    """A tool that puts things into a box, and can say what it would do."""

    def __init__(
        self,
        id: str,
        effect: EffectClass = EffectClass.NON_IDEMPOTENT,
        *,
        simulate: bool = True,
    ) -> None:
        schema = {"type": "object", "properties": {"item": {"type": "string"}}}
        self.manifest = Tool(
            "box", id, f"to {id}", json.dumps(schema), effect=effect, simulate=simulate
        )
        self.items: list[str] = []
        self.simulated: list[str] = []
        self.more: tuple[str, ...] = ()
        """What calls need beside the tool."""
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    def needs(self, arguments: Mapping[str, Any], workspace: str) -> Sequence[str]:
        del arguments, workspace
        return self.more

    async def __call__(self, invocation: Invocation) -> Outcome:
        item = msgspec.json.decode(invocation.arguments_json).get("item", "")
        if invocation.kind is InvocationKind.SIMULATE:
            self.simulated.append(item)
            return Succeeded(json.dumps({"would put": item}))
        self.entered.set()
        await self.gate.wait()
        self.items.append(item)
        return Succeeded(json.dumps({"put": item}))


class Home:
    """A runtime, and what happened in it."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._changed = asyncio.Event()
        runtime.journal.subscribe(lambda _: self._changed.set())

    async def start(self, goal: str = "do it all", **fields: Any) -> RunIdentity:
        """Create a run."""
        run, _ = await self.runtime.engine.create_run(
            NewRun(DEFAULT_NAMESPACE, None, goal, AGENT, **fields)
        )
        return run.identity

    async def ended(self, run: RunIdentity) -> Run:
        """Return a run that has ended, whose history holds what must hold."""
        found = await self.runtime.reading.wait_run(run.namespace, run.id, WAIT_S)
        assert found.view.state.ended, [entry.event for entry in await self.entries(run)]
        check_run(await self.entries(run))
        return found

    async def run(self, goal: str = "do it all", **fields: Any) -> Run:
        """Create a run and return it at its end."""
        return await self.ended(await self.start(goal, **fields))

    async def entries(self, run: RunIdentity) -> Sequence[Entry]:
        """Return the history of a run."""
        return await self.runtime.journal.read_run(run)

    async def all(self, run: RunIdentity, kind: type[Event]) -> list[Any]:
        """Return every event of a kind."""
        return [entry.event for entry in await self.entries(run) if isinstance(entry.event, kind)]

    async def until(self, run: RunIdentity, kind: type[Event], count: int = 1) -> Any:
        """Return an event of a kind once there are as many."""
        async with asyncio.timeout(WAIT_S):
            while True:
                self._changed.clear()
                if len(found := await self.all(run, kind)) >= count:
                    return found[count - 1]
                await self._changed.wait()


@asynccontextmanager
async def home(
    directory: Path,
    answers: Mapping[str, Any],
    *,
    tools: Sequence[Box] = (),
    memory: Remembering | None = None,
    limits: RuntimeLimits | None = None,
    **agent: Any,
) -> AsyncIterator[Home]:
    """Run a runtime with an agent of the protocol."""
    clock = SystemClock()
    journal = await SqliteJournal.open(directory, clock)
    scripts = answers.get("scripts") or {"demo": answers}
    models = ScriptedModels({name: parse_script(each) for name, each in scripts.items()})
    local = {tool.manifest.path: tool for tool in tools}
    outside = Outside(journal, models, clock, SystemEntropy(), local, remembering=memory)
    try:
        runtime = Runtime(outside, limits)
        async with runtime.serving():
            await runtime.offer_local({}, local)
            spec = Agent(
                DEFAULT_NAMESPACE,
                AGENT,
                protocol=ProtocolKind.LIFECYCLE,
                tools=("box/*",) if tools else (),
                permissions=(Rule(Decision.ALLOW, "tool.use:**"),) if tools else (),
                budget=Budget(max_turns=2_000),
            )
            await runtime.library.create_agent(replace(spec, **agent))
            yield Home(runtime)
    finally:
        await journal.close()
