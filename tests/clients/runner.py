"""The Python client's runner of a scenario: the reference for those of the other languages."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from agentd.client import AgentdError, Client, ToolContext, ToolFailed, connect, tool
from agentd.client.host import ToolHost
from agentd.client.types import from_json, to_json
from agentd.v1 import agent_service_pb2, approval_service_pb2, event_service_pb2, run_service_pb2
from agentd.v1.agent_pb2 import Agent
from agentd.v1.event_pb2 import Delta, Event
from agentd.v1.event_service_pb2 import EventFilter
from agentd.v1.run_pb2 import Run
from tests.clients.lines import (
    call_line,
    entry_line,
    enum_value,
    error_line,
    event_line,
    quoted,
    refusal_line,
    run_line,
)

WAIT_S = 20.0

Step = Mapping[str, Any]
Place = Mapping[str, Any]


def say(line: str) -> None:
    """Print a line of the transcript, or a cue."""
    print(line, flush=True)  # noqa: T201 - this is what a runner is for


class Tools:
    """The scenario's tools, and what was executed of them."""

    def __init__(self) -> None:
        self.executions: list[tuple[str, str, int, str]] = []
        self._changed = asyncio.Condition()
        self._releases: dict[str, asyncio.Event] = {}

    def function(self, name: str, effect: str, behaviour: str) -> Callable[..., Any]:
        """Return the function of one tool."""

        async def act(item: str, context: ToolContext) -> str:
            """For tests."""
            release = self._releases.setdefault(name, asyncio.Event())
            async with self._changed:
                self.executions.append((name, context.call, context.attempt, item))
                self._changed.notify_all()
            if behaviour == "fail":
                raise ToolFailed(f"cannot do {item}")
            if behaviour == "wait":
                await release.wait()
            return f"did {item}"

        act.__name__ = name
        return tool(effect=effect.lower())(act)  # type: ignore[call-overload,no-any-return]

    async def began(self, name: str, count: int) -> None:
        """Wait until a tool has begun so many executions."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: sum(execution[0] == name for execution in self.executions) >= count
            )

    def release(self, name: str) -> None:
        """Let the executions of a tool that wait return."""
        self._releases.pop(name).set()


class Runner:
    """Executes steps with one client."""

    def __init__(self, place: Place) -> None:
        self.client = self._connect(place, place["address"])
        self._place = place
        self._tools = Tools()
        self._host: ToolHost | None = None
        self._revisions: dict[str, int] = {}
        self._watches: dict[str, AsyncIterator[Event | Delta]] = {}
        self._interrupted: set[str] = set()

    @staticmethod
    def _connect(place: Place, address: str) -> Client:
        token_file = Path(place["token_file"]) if place["token_file"] else None
        return connect(address, token_file=token_file)

    async def execute(self, scenario: Mapping[str, Any]) -> None:
        """Execute every step that this place has the features for."""
        for step in scenario["steps"]:
            if step.get("requires", "") in ("", *self._place["features"]):
                await self._step(step)

    async def _step(self, step: Step) -> None:
        try:
            await getattr(self, f"do_{step['do']}")(step)
        except AgentdError as error:
            say(refusal_line(step["do"], error))

    async def do_create_agent(self, step: Step) -> None:
        fields = {key: step[key] for key in ("name", "instructions", "tools")}
        rules = [
            {**rule, "decision": f"DECISION_{rule['decision']}"} for rule in step.get("rules", ())
        ]
        agent = from_json({**fields, **({"permissions": rules} if rules else {})}, Agent)
        created = await self.client.agents.create(agent)
        say(f"agent {created.name} revision={created.revision}")

    async def do_host(self, step: Step) -> None:
        functions = [
            self._tools.function(tool["name"], tool["effect"], tool["behaviour"])
            for tool in step["tools"]
        ]
        self._host = self.client.host(step["toolset"], functions, host=step["host"])
        await self._host.__aenter__()
        names = (f"{step['toolset']}/{tool['name']}" for tool in step["tools"])
        say(f"hosting {','.join(names)}")

    async def do_create_run(self, step: Step) -> None:
        run = Run(name=step["name"], agent=step["agent"], goal=step["goal"])
        request = run_service_pb2.CreateRunRequest(run=run, request_id=step.get("request_id", ""))
        created = await self.client.call(request, run_service_pb2.CreateRunResponse)
        self._revisions[created.run.name] = created.revision
        say(f"created {created.run.name}")

    async def do_follow(self, step: Step) -> None:
        watch = self._watches.get(step["run"])
        if watch is None:
            watch = self._watches[step["run"]] = aiter(self._watch(step["run"]))
        async for item in watch:
            assert isinstance(item, Event)
            say(event_line(item))
            if item.WhichOneof("payload") == step["until"]:
                return
        assert step["until"] == "end", f"the watch ended before {step['until']}"

    def _watch(self, run: str) -> Any:
        return self.client.watch(
            EventFilter(runs=[run]),
            after_revision=self._revisions[run],
            until_ended=True,
            sequences={run: 0},
            on_interruption=lambda _error: self._interrupted.add(run),
        )

    async def do_began(self, step: Step) -> None:
        async with asyncio.timeout(WAIT_S):
            await self._tools.began(step["tool"], step["count"])

    async def do_cue(self, step: Step) -> None:
        say(f"@{step['word']}")
        line = await asyncio.to_thread(sys.stdin.readline)
        assert line, "nobody answers the cue"
        say(f"cue {step['word']}")

    async def do_release(self, step: Step) -> None:
        self._tools.release(step["tool"])

    async def do_interrupted(self, step: Step) -> None:
        say(f"interrupted {step['run']} {'yes' if step['run'] in self._interrupted else 'no'}")

    async def do_wait(self, step: Step) -> None:
        say(run_line(await self.client.runs.wait(step["run"], timeout_s=WAIT_S)))

    async def do_calls(self, step: Step) -> None:
        async for call in self.client.runs.calls(step["run"]):
            say(call_line(call))

    async def do_executed(self, _step: Step) -> None:
        for name, call, attempt, item in self._tools.executions:
            say(f"executed {name} call={call} attempt={attempt} item={quoted(item)}")

    async def do_list_events(self, step: Step) -> None:
        request = event_service_pb2.ListEventsRequest(
            filter=EventFilter(runs=[step["run"]]), page_size=step["page_size"]
        )
        sequences: list[str] = []
        pages = 0
        response = event_service_pb2.ListEventsResponse
        while True:
            answer = await self.client.call(request, response)
            pages += 1
            sequences.extend(str(event.sequence) for event in answer.events)
            request.page_token = answer.next_page_token
            if not request.page_token:
                break
        say(f"listed {step['run']} sequences={','.join(sequences)} pages={pages}")

    async def do_cancel(self, step: Step) -> None:
        answer = await self.client.runs.cancel(
            step["run"], reason=step["reason"], timeout_s=step["timeout_ms"] / 1000
        )
        state = enum_value(answer.report, "state")
        complete = "yes" if answer.report.complete else "no"
        say(f"cancelled {answer.report.run} state={state} complete={complete}")
        for entry in answer.report.entries:
            say(entry_line(entry))

    async def do_watch_from(self, step: Step) -> None:
        watch = aiter(self.client.watch(after_revision=step["after_revision"]))
        async with aclosing(watch) as items:  # type: ignore[type-var]
            async for _ in items:
                break
        say("watched")

    async def do_errors(self, step: Step) -> None:
        async with self._connect(self._place, self._place["errors_address"]) as client:
            for case in step["cases"]:
                try:
                    await _ask_for_error(client, case)
                except AgentdError as error:
                    say(error_line(case["id"], error))

    async def do_nobody(self, _step: Step) -> None:
        async with self._connect(self._place, self._place["nobody_address"]) as client:
            await client.system.info()
        say("answered")

    async def do_decide(self, step: Step) -> None:
        listing = from_json({"run": step["run"]}, approval_service_pb2.ListApprovalsRequest)
        answer = await self.client.call(listing, approval_service_pb2.ListApprovalsResponse)
        found = to_json(answer.approvals[0])
        decision = {
            "name": found["name"],
            "decision": f"APPROVAL_STATE_{step['decision']}",
            "reason": step["reason"],
            "argumentsSha256": found["argumentsSha256"],
        }
        request = from_json(decision, approval_service_pb2.DecideApprovalRequest)
        decided = await self.client.call(request, approval_service_pb2.DecideApprovalResponse)
        approval = decided.approval
        state = enum_value(approval, "state")
        say(f"decided {approval.tool} state={state} reason={quoted(approval.reason)}")

    async def do_unhost(self, _step: Step) -> None:
        assert self._host is not None
        await self._host.__aexit__(None, None, None)
        say("unhosted")

    async def do_close(self, _step: Step) -> None:
        for watch in self._watches.values():
            await watch.aclose()  # type: ignore[attr-defined]
        await self.client.close()
        say("closed")


async def _ask_for_error(client: Client, case: Mapping[str, Any]) -> None:
    name = f"agents/{case['id']}"
    match case.get("method", "get"):
        case "delete":
            await client.agents.delete(name)
        case "create":
            request = agent_service_pb2.CreateAgentRequest(agent=Agent(name=name))
            await client.call(request, agent_service_pb2.CreateAgentResponse)
        case _:
            await client.agents.get(name)


def main(scenario: Path, place: Path) -> None:
    """Execute a scenario at a place; both are JSON files."""
    where = json.loads(place.read_text("utf-8"))
    steps = json.loads(scenario.read_text("utf-8"))
    asyncio.run(_execute(where, steps))


async def _execute(place: Place, scenario: Mapping[str, Any]) -> None:
    await Runner(place).execute(scenario)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
