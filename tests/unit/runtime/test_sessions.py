"""Sessions are listed by age, count their runs, and are not deleted under a run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentd.agent.budget import Budget
from agentd.agent.events import RunCreated, RunEnded, RunState
from agentd.agent.ids import DEFAULT_AGENT, Namespace, RunId, RunIdentity, SessionId
from agentd.agent.run import Run, RunView
from agentd.agent.spec import RunSpec, Session
from agentd.errors import AlreadyExists, Conflict, InvalidRequest, NotFound, Reason
from agentd.runtime.claims import RequestClaims
from agentd.runtime.journal.sqlite import SqliteJournal
from agentd.runtime.ports import Checkpoint
from agentd.runtime.sessions import Sessions
from tests.unit.runtime.shelf import CountingEntropy, HandClock, opened

HOME, OTHER = Namespace("default"), Namespace("other")
TALK = Session(HOME, SessionId("talk"), "Talk", {"team": "a"})


@dataclass
class Desk:
    journal: SqliteJournal
    clock: HandClock
    sessions: Sessions

    async def start_run(self, run: str) -> RunIdentity:
        """Create a run of the session, as the engine does."""
        key = self.journal.next_run_key()
        identity = RunIdentity(key, HOME, RunId(run), DEFAULT_AGENT, TALK.id)
        created = RunCreated(DEFAULT_AGENT, 1, "goal", Budget(), TALK.id)
        async with self.sessions.hold_session(HOME, TALK.id):
            record = await self.sessions.session_run(HOME, TALK.id, RunId(run))
            run_ = Run(identity, RunSpec("goal", 1, Budget()), RunView())
            await self.journal.create_run(run_, [created], [record])
        return identity

    async def end_run(self, identity: RunIdentity) -> None:
        view = RunView(state=RunState.SUCCEEDED, last_sequence=2)
        ended = RunEnded(RunState.SUCCEEDED, "done")
        await self.journal.append(identity, 1, [ended], Checkpoint(view))


@asynccontextmanager
async def desk(directory: Path) -> AsyncIterator[Desk]:
    async with opened(directory) as journal:
        clock = HandClock()
        claims = RequestClaims(journal, clock)
        yield Desk(journal, clock, Sessions(journal, clock, CountingEntropy(), claims))


async def test_creates_and_returns(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        created = await d.sessions.create_session(TALK)
        assert created.session == Session(HOME, TALK.id, "Talk", {"team": "a"}, 1_000_000)
        assert (created.last_run, created.run_count, created.update_time_ms) == (None, 0, 1_000_000)
        assert await d.sessions.get_session(HOME, TALK.id) == created
        with pytest.raises(NotFound) as caught:
            await d.sessions.get_session(OTHER, TALK.id)
        assert caught.value.reason is Reason.SESSION_NOT_FOUND


async def test_a_name_is_taken_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.sessions.create_session(TALK)
        with pytest.raises(AlreadyExists) as caught:
            await d.sessions.create_session(TALK)
        assert caught.value.metadata == {"name": "sessions/talk"}


async def test_repeats_answer_as_the_first_time(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        nameless = Session(HOME, SessionId(""))
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(d.sessions.create_session(nameless, request_id="q"))
                for _ in range(4)
            ]
        assert len({task.result().session.id for task in tasks}) == 1
        with pytest.raises(InvalidRequest) as caught:
            await d.sessions.create_session(TALK, request_id="q")
        assert caught.value.reason is Reason.REQUEST_ID_REUSED


async def test_lists_the_newest_first_in_pages(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        for name in ("b", "c", "a"):
            d.clock.time_ms += 1
            await d.sessions.create_session(Session(HOME, SessionId(name)))
        await d.sessions.create_session(Session(OTHER, SessionId("other")))
        first = await d.sessions.list_sessions(HOME, after="", limit=2)
        assert [view.session.id for view in first] == ["a", "c"]
        rest = await d.sessions.list_sessions(HOME, after=first[-1].cursor, limit=2)
        assert [view.session.id for view in rest] == ["b"]


async def test_counts_its_runs(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.sessions.create_session(TALK)
        d.clock.time_ms = 2_000_000
        async with asyncio.TaskGroup() as group:
            for name in ("r1", "r2", "r3"):
                group.create_task(d.start_run(name))
        view = await d.sessions.get_session(HOME, TALK.id)
        assert (view.last_run, view.run_count, view.update_time_ms) == ("r3", 3, 2_000_000)
        with pytest.raises(NotFound):
            await d.sessions.session_run(HOME, SessionId("none"), RunId("r4"))


async def test_is_not_deleted_under_a_run(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.sessions.create_session(TALK)
        identity = await d.start_run("r1")
        with pytest.raises(Conflict) as caught:
            await d.sessions.delete_session(HOME, TALK.id)
        assert caught.value.reason is Reason.SESSION_BUSY
        assert caught.value.metadata == {"session": "sessions/talk", "run": "runs/r1"}
        await d.end_run(identity)
        await d.sessions.delete_session(HOME, TALK.id)
        with pytest.raises(NotFound):
            await d.sessions.get_session(HOME, TALK.id)
        with pytest.raises(NotFound):
            await d.sessions.delete_session(HOME, TALK.id)
        assert await d.sessions.list_sessions(HOME, after="", limit=10) == []
        again = await d.sessions.create_session(TALK)
        assert again.run_count == 0
        assert await d.sessions.get_session(HOME, TALK.id) == again


async def test_a_deletion_waits_for_a_run_that_is_being_created(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.sessions.create_session(TALK)
        refused = asyncio.Event()

        async def delete() -> None:
            with pytest.raises(Conflict):
                await d.sessions.delete_session(HOME, TALK.id)
            refused.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(d.start_run("r1"))
            group.create_task(delete())
        assert refused.is_set()
