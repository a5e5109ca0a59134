"""Runs are created, steered and read; what the contract forbids is refused by field."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from agentd.errors import AlreadyExists, Conflict, InvalidRequest, NotFound, Reason
from agentd.services.checks import MIB
from agentd.v1 import agent_pb2, agent_service_pb2, run_pb2, task_pb2
from agentd.v1 import event_service_pb2 as events
from agentd.v1 import run_service_pb2 as pb
from tests.unit.services.house import CALLER, STRANGER, House, failing, house, refused


def creation(
    goal: str = "say hello", request_id: str = "", **fields: object
) -> pb.CreateRunRequest:
    run = run_pb2.Run(goal=goal, **fields)  # type: ignore[arg-type]
    return pb.CreateRunRequest(run=run, request_id=request_id)


async def ended(home: House, name: str) -> run_pb2.Run:
    return (await home.runs.WaitRun(pb.WaitRunRequest(name=name), CALLER)).run


async def test_a_run_from_goal_to_answer(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        request = creation(
            name="runs/r-1",
            annotations={"ticket": "7"},
            budget={"max_turns": 3, "max_wall_time": Duration(seconds=60)},
        )
        answer = await home.runs.CreateRun(request, CALLER)
        created = answer.run
        assert created.name == "runs/r-1"
        assert created.agent == "agents/default"
        assert created.agent_revision == 1
        assert created.goal == "say hello"
        assert created.budget.max_turns == 3
        assert created.budget.max_wall_time.seconds == 60
        assert dict(created.annotations) == {"ticket": "7"}
        assert created.create_time.seconds > 1_700_000_000
        run = await ended(home, "runs/r-1")
        assert (run.state, run.output) == (run_pb2.RUN_STATE_SUCCEEDED, "Hello.")
        assert run.usage.turns == 1
        assert not run.HasField("failure")
        assert run.end_time.seconds >= run.start_time.seconds >= created.create_time.seconds
        assert (await home.runs.GetRun(pb.GetRunRequest(name="runs/r-1"), CALLER)).run == run
        found = await home.all_events(after_revision=answer.revision)
        assert [event.sequence for event in found] == list(range(1, run.last_sequence + 1))


async def test_a_repeated_creation_is_one_run(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(home.runs.CreateRun(creation(request_id="q"), CALLER))
                for _ in range(4)
            ]
        assert len({task.result().run.name for task in tasks}) == 1
        assert len({task.result().revision for task in tasks}) == 1
        async with failing(InvalidRequest, Reason.REQUEST_ID_REUSED):
            await home.runs.CreateRun(creation("other", request_id="q"), CALLER)


async def test_a_name_is_taken_once(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.runs.CreateRun(creation(name="runs/r-1"), CALLER)
        async with failing(AlreadyExists, Reason.NAME_TAKEN):
            await home.runs.CreateRun(creation(name="runs/r-1"), CALLER)


PLAN = [
    {"id": f"t{number}", "objective": f"do {number}", "criterion": "done"} for number in range(3)
]


def planner(first: dict[str, Any]) -> dict[str, Any]:
    """Return a script that plans three tasks, of which the first is answered so."""
    answers = {
        ("PLANNING", "submit_plan"): {"tasks": PLAN},
        ("SIMULATION", "submit_verdict"): {"verdict": "PROCEED", "reason": "well"},
        ("FEEDBACK", "submit_feedback"): {"choice": "ACCEPT", "reason": "well"},
        ("MEMORY", "submit_memories"): {"episode": "it was"},
        ("REFLECTION", "submit_reflection"): {"achieved": True, "answer": "all done"},
    }
    phases = [
        {"purpose": purpose, "turns": [{"calls": [{"tool": tool, "arguments": value}]}]}
        for (purpose, tool), value in answers.items()
    ]
    return {"conversations": [*phases, {"goal": "do 0", "turns": [first]}, {"turns": [DONE]}]}


DONE: dict[str, Any] = {"text": "done", "repeat": 0}


async def test_the_tasks_of_a_run(tmp_path: Path) -> None:
    late = {**DONE, "delay_ms": 60_000}
    async with house(tmp_path, planner(late)) as home:
        agent = agent_pb2.Agent(name="agents/p", protocol=agent_pb2.PROTOCOL_LIFECYCLE)
        await home.agents.CreateAgent(agent_service_pb2.CreateAgentRequest(agent=agent), CALLER)
        answer = await home.runs.CreateRun(creation(name="runs/r-1", agent="agents/p"), CALLER)
        request = events.WatchRequest(
            filter=events.EventFilter(runs=[answer.run.name], kinds=["task_started"]),
            after_revision=answer.revision,
        )
        async with home.watch(request) as stream:
            await anext(stream)
        page = await home.runs.ListTasks(
            pb.ListTasksRequest(parent="runs/r-1", page_size=2), CALLER
        )
        rest = await home.runs.ListTasks(
            pb.ListTasksRequest(parent="runs/r-1", page_size=2, page_token=page.next_page_token),
            CALLER,
        )
        tasks = [*page.tasks, *rest.tasks]
        assert [task.name for task in tasks] == [f"runs/r-1/tasks/t{n}" for n in range(3)]
        assert (tasks[0].objective, tasks[0].criterion) == ("do 0", "done")
        assert rest.next_page_token == ""
        async with failing(Conflict, Reason.WRONG_TASK_STATE):
            await home.runs.RetryTask(pb.RetryTaskRequest(name="runs/r-1/tasks/t0"), CALLER)
        async with failing(NotFound, Reason.TASK_NOT_FOUND):
            await home.runs.AbandonTask(pb.AbandonTaskRequest(name="runs/r-1/tasks/x"), CALLER)
        await home.runs.AbandonTask(
            pb.AbandonTaskRequest(name="runs/r-1/tasks/t0", reason="too slow"), CALLER
        )
        run = await ended(home, "runs/r-1")
        found = await home.runs.ListTasks(pb.ListTasksRequest(parent="runs/r-1"), CALLER)
    assert (run.state, run.output) == (run_pb2.RUN_STATE_SUCCEEDED, "all done")
    assert [task.state for task in found.tasks] == [
        task_pb2.TASK_STATE_ABANDONED,
        task_pb2.TASK_STATE_SUCCEEDED,
        task_pb2.TASK_STATE_SUCCEEDED,
    ]
    assert found.tasks[0].reason == "too slow"


async def test_only_a_run_that_plans_can_be_simulated(tmp_path: Path) -> None:
    async with house(tmp_path) as home, refused("run.simulate_only"):
        await home.runs.CreateRun(creation(simulate_only=True), CALLER)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"agent": "agents/none"}, Reason.AGENT_NOT_FOUND),
        ({"agent": "agents/default", "agent_revision": 9}, Reason.AGENT_NOT_FOUND),
        ({"session": "sessions/none"}, Reason.SESSION_NOT_FOUND),
        ({"model": "nobody/none"}, Reason.MODEL_NOT_FOUND),
        ({"tools": ["files/read"]}, Reason.TOOL_NOT_FOUND),
    ],
)
async def test_what_a_run_needs_must_exist(
    tmp_path: Path, fields: dict[str, Any], reason: Reason
) -> None:
    async with house(tmp_path) as home, failing(NotFound, reason):
        await home.runs.CreateRun(creation(**fields), CALLER)


async def test_lists_the_newest_first_in_pages(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for index in range(5):
            await home.runs.CreateRun(creation(name=f"runs/r-{index}"), CALLER)
        await home.runs.CreateRun(creation(name="runs/r-other"), STRANGER)
        names, token = [], ""
        while True:
            request = pb.ListRunsRequest(page_size=2, page_token=token)
            page = await home.runs.ListRuns(request, CALLER)
            assert len(page.runs) <= 2
            names += [run.name for run in page.runs]
            token = page.next_page_token
            if not token:
                break
        assert names == [f"runs/r-{index}" for index in (4, 3, 2, 1, 0)]


async def test_lists_by_filter(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.runs.CreateRun(creation(name="runs/r-1"), CALLER)
        await ended(home, "runs/r-1")
        succeeded = pb.RunFilter(states=[run_pb2.RUN_STATE_SUCCEEDED], agent="agents/default")
        failed = pb.RunFilter(states=[run_pb2.RUN_STATE_FAILED])
        for runs, expected in ((succeeded, ["runs/r-1"]), (failed, [])):
            page = await home.runs.ListRuns(pb.ListRunsRequest(filter=runs), CALLER)
            assert [run.name for run in page.runs] == expected


async def test_a_page_token_belongs_to_its_filter(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        for index in range(2):
            await home.runs.CreateRun(creation(name=f"runs/r-{index}"), CALLER)
        page = await home.runs.ListRuns(pb.ListRunsRequest(page_size=1), CALLER)
        assert page.next_page_token
        other = pb.RunFilter(agent="agents/default")
        token = page.next_page_token
        async with refused("page_token"):
            await home.runs.ListRuns(pb.ListRunsRequest(filter=other, page_token=token), CALLER)
        async with refused("page_token"):
            await home.runs.ListRuns(pb.ListRunsRequest(page_token=token), STRANGER)


async def test_a_wait_may_end_before_the_run(tmp_path: Path) -> None:
    script = {"conversations": [{"turns": [{"text": "Late.", "delay_ms": 20_000}]}]}
    async with house(tmp_path, script) as home:
        await home.runs.CreateRun(creation(name="runs/r-1"), CALLER)
        request = pb.WaitRunRequest(name="runs/r-1", timeout=Duration())
        run = (await home.runs.WaitRun(request, CALLER)).run
        assert run.state in (run_pb2.RUN_STATE_PENDING, run_pb2.RUN_STATE_RUNNING)


async def test_pausing_resuming_and_messages(tmp_path: Path) -> None:
    script = {"conversations": [{"turns": [{"text": "Heard: {{last_user}}", "repeat": 0}]}]}
    async with house(tmp_path, script) as home:
        await home.runs.CreateRun(creation(name="runs/r-1"), CALLER)
        await ended(home, "runs/r-1")
        async with failing(Conflict, Reason.WRONG_RUN_STATE):
            await home.runs.PauseRun(pb.PauseRunRequest(name="runs/r-1"), CALLER)
        async with failing(Conflict, Reason.WRONG_RUN_STATE):
            await home.runs.ResumeRun(pb.ResumeRunRequest(name="runs/r-1"), CALLER)
        async with failing(Conflict, Reason.WRONG_RUN_STATE):
            message = pb.SendMessageRequest(name="runs/r-1", text="more")
            await home.runs.SendMessage(message, CALLER)


async def test_cancelling_reports(tmp_path: Path) -> None:
    script = {"conversations": [{"turns": [{"text": "Late.", "delay_ms": 20_000}]}]}
    async with house(tmp_path, script) as home:
        answer = await home.runs.CreateRun(creation(name="runs/r-1"), CALLER)
        await first(home, answer, "model_requested")
        request = pb.CancelRunRequest(name="runs/r-1", reason="enough")
        cancelled = await home.runs.CancelRun(request, CALLER)
        assert cancelled.run.state == run_pb2.RUN_STATE_CANCELLED
        report = cancelled.report
        assert (report.run, report.complete) == ("runs/r-1", True)
        assert [entry.name for entry in report.entries] == ["runs/r-1/requests/1"]
        assert report.entries[0].outcome == run_pb2.CANCEL_OUTCOME_STOPPED


async def first(home: House, answer: pb.CreateRunResponse, kind: str) -> None:
    """Return once the run has an event of a kind."""
    request = events.WatchRequest(
        filter=events.EventFilter(runs=[answer.run.name], kinds=[kind]),
        after_revision=answer.revision,
    )
    async with home.watch(request) as stream:
        await anext(stream)


async def test_a_run_of_direct_has_no_tasks(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.runs.CreateRun(creation(name="runs/r-1"), CALLER)
        answer = await home.runs.ListTasks(pb.ListTasksRequest(parent="runs/r-1"), CALLER)
        assert answer == pb.ListTasksResponse()
        async with failing(NotFound, Reason.RUN_NOT_FOUND):
            await home.runs.ListTasks(pb.ListTasksRequest(parent="runs/r-2"), CALLER)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"goal": ""}, "run.goal"),
        ({"goal": "x" * (MIB + 1)}, "run.goal"),
        ({"name": "r-1"}, "run.name"),
        ({"name": "runs/R"}, "run.name"),
        ({"name": "runs/" + "a" * 64}, "run.name"),
        ({"name": "agents/a"}, "run.name"),
        ({"agent": "helper"}, "run.agent"),
        ({"agent_revision": -1}, "run.agent_revision"),
        ({"session": "sessions/"}, "run.session"),
        ({"model": "m" * 257}, "run.model"),
        ({"tools": ["files"]}, "run.tools[0]"),
        ({"tools": ["a/*", "files/read me"]}, "run.tools[1]"),
        ({"tools": ["a/*/*/*"]}, "run.tools[0]"),
        ({"tools": ["a/*"] * 1001}, "run.tools"),
        ({"budget": {"max_turns": -1}}, "run.budget.max_turns"),
        ({"budget": {"max_tokens": -1}}, "run.budget.max_tokens"),
        ({"budget": {"max_cost_nanos": -1}}, "run.budget.max_cost_nanos"),
        ({"budget": {"max_tool_calls": -1}}, "run.budget.max_tool_calls"),
        ({"budget": {"max_wall_time": Duration(seconds=-1)}}, "run.budget.max_wall_time"),
        ({"budget": {"max_wall_time": Duration(nanos=-1)}}, "run.budget.max_wall_time"),
        ({"budget": {"max_wall_time": Duration(seconds=10**11)}}, "run.budget.max_wall_time"),
        ({"budget": {"max_wall_time": Duration(nanos=10**9)}}, "run.budget.max_wall_time"),
        ({"annotations": {str(n): "" for n in range(65)}}, "run.annotations"),
        ({"annotations": {"a": "x" * 4096}}, "run.annotations['a']"),
        ({"annotations": {"": "x"}}, "run.annotations['']"),
        ({"request_id": "q" * 129}, "request_id"),
    ],
)
async def test_bad_creations(tmp_path: Path, fields: dict[str, Any], field: str) -> None:
    async with house(tmp_path) as home, refused(field):
        await home.runs.CreateRun(creation(**{"goal": "g", **fields}), CALLER)


async def test_a_creation_needs_a_run(tmp_path: Path) -> None:
    async with house(tmp_path) as home, refused("run"):
        await home.runs.CreateRun(pb.CreateRunRequest(), CALLER)


Ask = Callable[[House], Awaitable[object]]
NAME = "runs/r-1"
CALL = "runs/r-1/calls/c1-1"
BAD: list[tuple[str, Ask, str]] = [
    ("get", lambda h: h.runs.GetRun(pb.GetRunRequest(name="runs"), CALLER), "name"),
    ("wait name", lambda h: h.runs.WaitRun(pb.WaitRunRequest(), CALLER), "name"),
    (
        "wait long",
        lambda h: h.runs.WaitRun(
            pb.WaitRunRequest(name=NAME, timeout=Duration(seconds=601)), CALLER
        ),
        "timeout",
    ),
    (
        "wait negative",
        lambda h: h.runs.WaitRun(
            pb.WaitRunRequest(name=NAME, timeout=Duration(seconds=-1)), CALLER
        ),
        "timeout",
    ),
    ("send", lambda h: h.runs.SendMessage(pb.SendMessageRequest(name=NAME), CALLER), "text"),
    (
        "send long",
        lambda h: h.runs.SendMessage(
            pb.SendMessageRequest(name=NAME, text="x" * (MIB + 1)), CALLER
        ),
        "text",
    ),
    (
        "send id",
        lambda h: h.runs.SendMessage(
            pb.SendMessageRequest(name=NAME, text="x", request_id="q" * 129), CALLER
        ),
        "request_id",
    ),
    ("pause", lambda h: h.runs.PauseRun(pb.PauseRunRequest(name="x"), CALLER), "name"),
    ("resume", lambda h: h.runs.ResumeRun(pb.ResumeRunRequest(name="x"), CALLER), "name"),
    ("cancel", lambda h: h.runs.CancelRun(pb.CancelRunRequest(name="x"), CALLER), "name"),
    (
        "cancel reason",
        lambda h: h.runs.CancelRun(pb.CancelRunRequest(name=NAME, reason="x" * 1025), CALLER),
        "reason",
    ),
    (
        "cancel timeout",
        lambda h: h.runs.CancelRun(
            pb.CancelRunRequest(name=NAME, timeout=Duration(seconds=301)), CALLER
        ),
        "timeout",
    ),
    ("list size", lambda h: h.runs.ListRuns(pb.ListRunsRequest(page_size=-1), CALLER), "page_size"),
    (
        "list token",
        lambda h: h.runs.ListRuns(pb.ListRunsRequest(page_token="garbled"), CALLER),
        "page_token",
    ),
    (
        "list state",
        lambda h: h.runs.ListRuns(
            pb.ListRunsRequest(filter=pb.RunFilter(states=[2, 99])),  # type: ignore[list-item]
            CALLER,
        ),
        "filter.states[1]",
    ),
    (
        "list no state",
        lambda h: h.runs.ListRuns(
            pb.ListRunsRequest(filter=pb.RunFilter(states=[run_pb2.RUN_STATE_UNSPECIFIED])), CALLER
        ),
        "filter.states[0]",
    ),
    (
        "list agent",
        lambda h: h.runs.ListRuns(pb.ListRunsRequest(filter=pb.RunFilter(agent="a")), CALLER),
        "filter.agent",
    ),
    (
        "list session",
        lambda h: h.runs.ListRuns(pb.ListRunsRequest(filter=pb.RunFilter(session="a")), CALLER),
        "filter.session",
    ),
    ("tasks", lambda h: h.runs.ListTasks(pb.ListTasksRequest(parent="r"), CALLER), "parent"),
    (
        "tasks token",
        lambda h: h.runs.ListTasks(pb.ListTasksRequest(parent=NAME, page_token="x"), CALLER),
        "page_token",
    ),
    ("calls", lambda h: h.runs.ListCalls(pb.ListCallsRequest(parent="r"), CALLER), "parent"),
    (
        "calls state",
        lambda h: h.runs.ListCalls(
            pb.ListCallsRequest(parent=NAME, states=[99]),  # type: ignore[list-item]
            CALLER,
        ),
        "states[0]",
    ),
    (
        "calls size",
        lambda h: h.runs.ListCalls(pb.ListCallsRequest(parent=NAME, page_size=-5), CALLER),
        "page_size",
    ),
    ("call", lambda h: h.runs.GetCall(pb.GetCallRequest(name=NAME), CALLER), "name"),
    (
        "resolve nothing",
        lambda h: h.runs.ResolveCall(pb.ResolveCallRequest(name=CALL), CALLER),
        "resolution",
    ),
    (
        "resolve json",
        lambda h: h.runs.ResolveCall(pb.ResolveCallRequest(name=CALL, result_json="{"), CALLER),
        "result_json",
    ),
    (
        "resolve error",
        lambda h: h.runs.ResolveCall(
            pb.ResolveCallRequest(name=CALL, error_message="x" * 16_385), CALLER
        ),
        "error_message",
    ),
    (
        "resolve reason",
        lambda h: h.runs.ResolveCall(
            pb.ResolveCallRequest(name=CALL, retry=pb.RetryCall(), reason="x" * 1025), CALLER
        ),
        "reason",
    ),
]


@pytest.mark.parametrize(("ask", "field"), [(a, f) for _, a, f in BAD], ids=[i for i, _, _ in BAD])
async def test_bad_requests(tmp_path: Path, ask: Ask, field: str) -> None:
    async with house(tmp_path) as home:
        await home.runs.CreateRun(creation(name=NAME), CALLER)
        async with refused(field):
            await ask(home)


UNKNOWN: list[tuple[Ask, Reason]] = [
    (lambda h: h.runs.GetRun(pb.GetRunRequest(name="runs/r-2"), CALLER), Reason.RUN_NOT_FOUND),
    (lambda h: h.runs.GetRun(pb.GetRunRequest(name=NAME), STRANGER), Reason.RUN_NOT_FOUND),
    (lambda h: h.runs.WaitRun(pb.WaitRunRequest(name="runs/r-2"), CALLER), Reason.RUN_NOT_FOUND),
    (
        lambda h: h.runs.CancelRun(pb.CancelRunRequest(name="runs/r-2"), CALLER),
        Reason.RUN_NOT_FOUND,
    ),
    (lambda h: h.runs.GetCall(pb.GetCallRequest(name=CALL), CALLER), Reason.CALL_NOT_FOUND),
    (
        lambda h: h.runs.ListCalls(pb.ListCallsRequest(parent="runs/r-2"), CALLER),
        Reason.RUN_NOT_FOUND,
    ),
]


@pytest.mark.parametrize(("ask", "reason"), UNKNOWN)
async def test_unknown_names(tmp_path: Path, ask: Ask, reason: Reason) -> None:
    async with house(tmp_path) as home:
        await home.runs.CreateRun(creation(name=NAME), CALLER)
        async with failing(NotFound, reason):
            await ask(home)
