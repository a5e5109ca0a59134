"""What every journal promises of its runs: names, checkpoints, lists."""

import asyncio

import pytest

from agentd.agent.events import (
    Entry,
    MessagePosted,
    RunEnded,
    RunState,
    RunWaiting,
    WaitReason,
)
from agentd.agent.ids import (
    DEFAULT_NAMESPACE,
    AgentId,
    RunId,
    RunIdentity,
    SessionId,
)
from agentd.agent.run import Run, RunView
from agentd.agent.state import State
from agentd.errors import AlreadyExists, NotFound, Reason
from agentd.runtime.ports import Checkpoint, RunQuery
from tests.conformance.journal.conftest import Lab
from tests.conformance.journal.helpers import EVERYTHING, OTHER, AnyJournal, record, scan_all
from tests.fakes.runs import CREATED, SPEC, create_run, ended, leased


async def test_a_name_is_taken_once_in_its_namespace(journal: AnyJournal) -> None:
    await create_run(journal, "a")
    with pytest.raises(AlreadyExists) as caught:
        await create_run(journal, "a")
    assert caught.value.reason is Reason.NAME_TAKEN
    await create_run(journal, "a", namespace=OTHER)
    assert len(await scan_all(journal, EVERYTHING)) == 1


async def test_a_taken_name_harms_nobody_else_of_the_same_commit(journal: AnyJournal) -> None:
    run = await create_run(journal, "a")
    heard: list[Entry] = []
    journal.subscribe(heard.extend)

    async def taken() -> None:
        with pytest.raises(AlreadyExists):
            await create_run(journal, "a", records=[record("lost")])

    async with asyncio.TaskGroup() as group:
        group.create_task(journal.append(run, 1, [leased(1)]))
        group.create_task(taken())
        created = group.create_task(create_run(journal, "b", records=[record("claim")]))
        group.create_task(journal.append(run, 2, [leased(2)]))
    assert [entry.sequence for entry in await journal.read_run(run)] == [1, 2, 3]
    assert len(await journal.read_run(created.result())) == 1
    assert await journal.get("agent", DEFAULT_NAMESPACE, "lost") is None
    assert await journal.get("agent", DEFAULT_NAMESPACE, "claim") == record("claim")
    assert [entry.event for entry in heard] == [leased(1), CREATED, leased(2)]


async def test_a_refused_run_does_not_exist(journal: AnyJournal) -> None:
    await create_run(journal, "a")
    twin = RunIdentity(journal.next_run_key(), DEFAULT_NAMESPACE, RunId("a"), AgentId("default"))
    with pytest.raises(AlreadyExists):
        await journal.create_run(Run(twin, SPEC, RunView()), [CREATED])
    with pytest.raises(NotFound):
        await journal.append(twin, 1, [leased(1)])
    with pytest.raises(NotFound):
        await journal.read_run(twin)


async def test_a_taken_document_refuses_the_run(journal: AnyJournal) -> None:
    await journal.put([record("claim")])
    with pytest.raises(AlreadyExists):
        await create_run(journal, "a", records=[record("new"), record("claim", body=b"y")])
    assert await journal.get_run(DEFAULT_NAMESPACE, RunId("a")) is None
    assert await journal.get("agent", DEFAULT_NAMESPACE, "new") is None
    assert await journal.get("agent", DEFAULT_NAMESPACE, "claim") == record("claim")
    await create_run(journal, "a", records=[record("new")])


async def test_keys_are_never_given_twice(lab: Lab) -> None:
    journal = await lab.open()
    run = await create_run(journal, "a")
    assert journal.next_run_key() > run.key
    journal = await lab.reopen()
    assert journal.next_run_key() > run.key


async def test_a_run_is_stored_with_its_checkpoint(lab: Lab) -> None:
    journal = await lab.open()
    run = await create_run(journal, "a", session=SessionId("s"))
    waiting = RunWaiting(WaitReason.MESSAGE, "for an answer")
    view = RunView(state=RunState.WAITING, last_sequence=2, wait_reason=WaitReason.MESSAGE)
    state = State(run=RunState.WAITING, created=True, waiting=waiting)
    await journal.append(run, 1, [waiting], Checkpoint(view, state))
    await journal.append(run, 2, [MessagePosted("hello")])
    for reopened in (False, True):
        if reopened:
            journal = await lab.reopen()
        stored = await journal.get_run(DEFAULT_NAMESPACE, RunId("a"))
        assert stored is not None
        assert stored.run == Run(run, SPEC, view)
        assert (stored.snapshot, stored.snapshot_sequence) == (state, 2)
        assert stored.last_sequence == 3


async def test_a_checkpoint_without_a_state_keeps_the_snapshot(journal: AnyJournal) -> None:
    run = await create_run(journal, "a")
    await journal.append(run, 1, [leased(1)], Checkpoint(RunView(), State(turn=4)))
    await journal.append(run, 2, [leased(2)], Checkpoint(RunView(RunState.RUNNING)))
    stored = await journal.get_run(DEFAULT_NAMESPACE, RunId("a"))
    assert stored is not None
    assert stored.run.view == RunView(RunState.RUNNING)
    assert (stored.snapshot, stored.snapshot_sequence) == (State(turn=4), 2)


async def test_of_checkpoints_in_one_commit_the_newest_counts(journal: AnyJournal) -> None:
    run = await create_run(journal, "a")
    async with asyncio.TaskGroup() as group:
        for number in range(1, 6):
            checkpoint = Checkpoint(RunView(last_sequence=number + 1), State(turn=number))
            group.create_task(journal.append(run, number, [leased(number)], checkpoint))
    stored = await journal.get_run(DEFAULT_NAMESPACE, RunId("a"))
    assert stored is not None
    assert stored.run.view.last_sequence == 6
    assert (stored.snapshot, stored.snapshot_sequence) == (State(turn=5), 6)


async def test_ended_runs_are_not_unfinished_and_keep_evidence(lab: Lab) -> None:
    journal = await lab.open()
    run = await create_run(journal, "a")
    waiting = await create_run(journal, "b", state=RunState.RUNNING)
    view = RunView(state=RunState.SUCCEEDED, last_sequence=2)
    await journal.append(run, 1, [RunEnded(RunState.SUCCEEDED, "42")], Checkpoint(view))
    journal = await lab.reopen()
    assert [stored.run.identity for stored in await journal.unfinished_runs()] == [waiting]
    await journal.append(run, 2, [ended(9)])
    journal = await lab.reopen()
    assert [entry.sequence for entry in await journal.read_run(run)] == [1, 2, 3]
    stored = await journal.get_run(DEFAULT_NAMESPACE, RunId("a"))
    assert stored is not None
    assert stored.last_sequence == 3


async def test_runs_are_listed_newest_first_by_pages(journal: AnyJournal) -> None:
    for number in range(5):
        await create_run(journal, f"r{number}")
    await create_run(journal, "foreign", namespace=OTHER)
    query = RunQuery(DEFAULT_NAMESPACE)
    first = await journal.list_runs(query, before=None, limit=3)
    assert [stored.run.identity.id for stored in first] == ["r4", "r3", "r2"]
    rest = await journal.list_runs(query, before=first[-1].run.identity.key, limit=3)
    assert [stored.run.identity.id for stored in rest] == ["r1", "r0"]


async def test_runs_are_listed_by_what_they_are(journal: AnyJournal) -> None:
    await create_run(journal, "a", agent=AgentId("x"), session=SessionId("s"))
    await create_run(journal, "b", agent=AgentId("x"), state=RunState.RUNNING)
    await create_run(journal, "c", agent=AgentId("y"), session=SessionId("s"))

    async def listed(query: RunQuery) -> list[str]:
        runs = await journal.list_runs(query, before=None, limit=10)
        return [stored.run.identity.id for stored in runs]

    assert await listed(RunQuery(DEFAULT_NAMESPACE, agent=AgentId("x"))) == ["b", "a"]
    assert await listed(RunQuery(DEFAULT_NAMESPACE, session=SessionId("s"))) == ["c", "a"]
    states = frozenset({RunState.RUNNING, RunState.PAUSED})
    assert await listed(RunQuery(DEFAULT_NAMESPACE, states=states)) == ["b"]
    assert await listed(RunQuery(OTHER)) == []
