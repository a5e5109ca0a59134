"""Tasks at work: in parallel, with tools, given up, retried, cancelled."""

from pathlib import Path

import pytest

from agentd.agent.events import CallEnded, CallLeased, RunState
from agentd.agent.lifecycle import TaskId, TaskState
from agentd.agent.lifecycle_events import TaskEnded, TaskStarted, TaskStopping
from agentd.agent.message import Purpose
from agentd.agent.tool import CallState, EffectClass
from agentd.errors import Conflict, NotFound, Reason
from tests.unit.runtime.lifecycle.world import Box, Home, conversation, home, script, task

ONE, TWO = TaskId("one"), TaskId("two")
PUT = {"calls": [{"tool": "put", "arguments": {"item": "x"}}]}
USES = {"tools": ["put"], "effect": "NON_IDEMPOTENT"}
PAIR = {"tasks": [task("one", **USES), task("two", "one")]}


async def test_a_task_calls_tools_in_a_thread_of_its_own(tmp_path: Path) -> None:
    box = Box("put")
    own = script(
        conversation(Purpose.EXECUTION, [PUT, "put: {{last_result}}"], goal="# The task\ndo one\n"),
        plan=PAIR,
    )
    async with home(tmp_path, own, tools=[box]) as house:
        run = await house.run()
        ended = await house.all(run.identity, TaskEnded)
    assert box.items == ["x"]
    assert ended[0].result == 'put: {"put": "x"}'
    assert ended[1].result == "the result"
    assert run.view.usage.tool_calls == 1


async def test_two_hundred_tasks_run_sixteen_at_a_time(tmp_path: Path) -> None:
    tasks = [task(f"t{number}") for number in range(40)]
    tasks += [task(f"t{number}", f"t{number - 40}", f"t{number // 2}") for number in range(40, 199)]
    tasks.append(task("last", "t198", "t197"))
    async with home(tmp_path, script(plan={"tasks": tasks})) as house:
        run = await house.run()
        running = most = 0
        for entry in await house.entries(run.identity):
            running += isinstance(entry.event, TaskStarted) - isinstance(entry.event, TaskEnded)
            most = max(most, running)
        found = await house.runtime.tasks.list(run.identity.namespace, run.identity.id)
    assert run.view.state is RunState.SUCCEEDED
    assert most == 16
    assert {each.state for each in found} == {TaskState.SUCCEEDED}
    assert len(found) == 200


async def begun(house: Home, box: Box) -> object:
    box.gate.clear()
    identity = await house.start()
    await house.until(identity, CallLeased)
    await box.entered.wait()
    return identity


@pytest.mark.parametrize(
    ("effect", "outcome"),
    [
        (EffectClass.READ_ONLY, CallState.CANCELLED),
        (EffectClass.NON_IDEMPOTENT, CallState.ABANDONED),
    ],
)
async def test_a_running_task_is_given_up_with_its_call(
    tmp_path: Path, effect: EffectClass, outcome: CallState
) -> None:
    box = Box("put", effect)
    own = script(
        conversation(Purpose.EXECUTION, [PUT, "done"], goal="# The task\ndo one\n"), plan=PAIR
    )
    async with home(tmp_path, own, tools=[box]) as house:
        box.gate.clear()
        identity = await house.start()
        await house.until(identity, CallLeased)
        tasks = house.runtime.tasks
        found = await tasks.abandon(identity.namespace, identity.id, ONE, "not worth it")
        assert found.state in (TaskState.RUNNING, TaskState.ABANDONED)
        run = await house.ended(identity)
        (call,) = await house.all(identity, CallEnded)
        (stopping,) = await house.all(identity, TaskStopping)
        listed = await tasks.list(identity.namespace, identity.id)
    assert stopping.reason == "not worth it"
    assert call.state is outcome
    assert [each.state for each in listed] == [TaskState.ABANDONED, TaskState.SKIPPED]
    assert run.view.state is RunState.SUCCEEDED


async def test_a_task_that_waits_is_given_up(tmp_path: Path) -> None:
    box = Box("put")
    own = script(
        conversation(Purpose.EXECUTION, [PUT, "done"], goal="# The task\ndo one\n"), plan=PAIR
    )
    async with home(tmp_path, own, tools=[box]) as house:
        box.gate.clear()
        identity = await house.start()
        await house.until(identity, CallLeased)
        tasks = house.runtime.tasks
        given_up = await tasks.abandon(identity.namespace, identity.id, TWO, "")
        with pytest.raises(Conflict) as caught:
            await tasks.abandon(identity.namespace, identity.id, TWO, "")
        with pytest.raises(Conflict):
            await tasks.retry(identity.namespace, identity.id, ONE, "")
        with pytest.raises(NotFound):
            await tasks.retry(identity.namespace, identity.id, TaskId("nine"), "")
        box.gate.set()
        run = await house.ended(identity)
        with pytest.raises(Conflict):
            await tasks.abandon(identity.namespace, identity.id, TWO, "")
    assert given_up.state is TaskState.ABANDONED
    assert caught.value.reason is Reason.WRONG_TASK_STATE
    assert run.view.state is RunState.SUCCEEDED


async def test_a_failed_task_is_retried_by_a_person(tmp_path: Path) -> None:
    replan = {"choice": "REPLAN", "reason": "that way is shut"}
    second = {"tasks": [task("other", tools=["put"], effect="NON_IDEMPOTENT")]}
    box = Box("put")
    own = script(
        conversation(Purpose.PLANNING, [second], goal="that way is shut"),
        conversation(Purpose.EXECUTION, [PUT, "put"], goal="# The task\ndo other\n"),
        conversation(Purpose.FEEDBACK, [replan], goal="# The task\ndo one\n(.|\n)*of attempt 1"),
    )
    async with home(tmp_path, own, tools=[box]) as house:
        box.gate.clear()
        identity = await house.start()
        await house.until(identity, CallLeased)
        tasks = house.runtime.tasks
        retried = await tasks.retry(identity.namespace, identity.id, ONE, "the way is open")
        assert retried.attempt == 2
        box.gate.set()
        run = await house.ended(identity)
        found = await tasks.list(identity.namespace, identity.id)
    assert run.view.state is RunState.SUCCEEDED
    assert [each.state for each in found] == [TaskState.SUCCEEDED, TaskState.SUCCEEDED]


async def test_a_cancel_reports_what_every_task_was_doing(tmp_path: Path) -> None:
    box = Box("put", EffectClass.READ_ONLY)
    plan = {"tasks": [task("one", tools=["put"]), task("two", tools=["put"]), task("three")]}
    slow = {"text": "late", "delay_ms": 60_000}
    own = script(
        conversation(Purpose.EXECUTION, [PUT, "done"], goal="# The task\ndo (one|two)\n"),
        conversation(Purpose.EXECUTION, [slow], goal="# The task\ndo three\n"),
        plan=plan,
    )
    async with home(tmp_path, own, tools=[box]) as house:
        box.gate.clear()
        identity = await house.start()
        await house.until(identity, CallLeased)
        engine = house.runtime.engine
        report, _ = await engine.cancel_run(
            identity.namespace, identity.id, reason="enough", timeout_ms=5_000
        )
        run = await house.ended(identity)
    assert run.view.state is RunState.CANCELLED
    assert report.complete
    assert len(report.entries) == 3


async def test_a_task_at_work_hears_what_the_user_says(tmp_path: Path) -> None:
    box = Box("put")
    turns = [PUT, "they said: {{last_user}}"]
    own = script(
        conversation(Purpose.EXECUTION, turns, goal="# The task\ndo one\n"),
        plan={"tasks": [task("one", **USES)]},
    )
    async with home(tmp_path, own, tools=[box]) as house:
        box.gate.clear()
        identity = await house.start()
        await house.until(identity, CallLeased)
        await house.runtime.engine.send_message(identity.namespace, identity.id, "take blue")
        box.gate.set()
        await house.ended(identity)
        (ended,) = await house.all(identity, TaskEnded)
    assert ended.result == "they said: take blue"
