"""Sessions cross the contract unharmed; what the contract forbids is refused by field."""

from pathlib import Path
from typing import Any

import pytest

from agentd.errors import Conflict, NotFound, Reason
from agentd.v1 import run_pb2, run_service_pb2, session_pb2
from agentd.v1 import session_service_pb2 as pb
from tests.unit.services.house import CALLER, STRANGER, failing, house, refused

SLOW = {"conversations": [{"turns": [{"text": "Late.", "delay_ms": 20_000}]}]}


def creation(**fields: Any) -> pb.CreateSessionRequest:
    return pb.CreateSessionRequest(session=session_pb2.Session(**fields))


async def test_creates_and_returns(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        request = creation(
            name="sessions/talk", display_name="Talk", annotations={"a": "b"}, run_count=7
        )
        created = (await home.sessions.CreateSession(request, CALLER)).session
        assert created == session_pb2.Session(
            name="sessions/talk",
            display_name="Talk",
            annotations={"a": "b"},
            create_time=created.create_time,
            update_time=created.create_time,
        )
        got = await home.sessions.GetSession(pb.GetSessionRequest(name="sessions/talk"), CALLER)
        assert got.session == created
        async with failing(NotFound, Reason.SESSION_NOT_FOUND):
            await home.sessions.GetSession(pb.GetSessionRequest(name="sessions/talk"), STRANGER)
        nameless = await home.sessions.CreateSession(pb.CreateSessionRequest(), CALLER)
        assert nameless.session.name.startswith("sessions/")


async def test_shows_its_runs_and_is_not_deleted_under_one(tmp_path: Path) -> None:
    async with house(tmp_path, SLOW) as home:
        await home.sessions.CreateSession(creation(name="sessions/talk"), CALLER)
        run = run_pb2.Run(name="runs/r-1", goal="g", session="sessions/talk")
        await home.runs.CreateRun(run_service_pb2.CreateRunRequest(run=run), CALLER)
        got = await home.sessions.GetSession(pb.GetSessionRequest(name="sessions/talk"), CALLER)
        assert (got.session.last_run, got.session.run_count) == ("runs/r-1", 1)
        async with failing(Conflict, Reason.SESSION_BUSY):
            await home.sessions.DeleteSession(pb.DeleteSessionRequest(name="sessions/talk"), CALLER)
        await home.runs.CancelRun(run_service_pb2.CancelRunRequest(name="runs/r-1"), CALLER)
        await home.sessions.DeleteSession(pb.DeleteSessionRequest(name="sessions/talk"), CALLER)
        async with failing(NotFound, Reason.SESSION_NOT_FOUND):
            await home.sessions.GetSession(pb.GetSessionRequest(name="sessions/talk"), CALLER)


async def test_lists_in_pages(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        created = set()
        for _ in range(5):
            answer = await home.sessions.CreateSession(pb.CreateSessionRequest(), CALLER)
            created.add(answer.session.name)
        names, token = [], ""
        while True:
            request = pb.ListSessionsRequest(page_size=2, page_token=token)
            page = await home.sessions.ListSessions(request, CALLER)
            names += [session.name for session in page.sessions]
            token = page.next_page_token
            if not token:
                break
        assert len(names) == 5
        assert set(names) == created


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "talk"}, "session.name"),
        ({"name": "sessions/-"}, "session.name"),
        ({"display_name": "x" * 201}, "session.display_name"),
        ({"annotations": {str(n): "" for n in range(65)}}, "session.annotations"),
    ],
)
async def test_bad_sessions(tmp_path: Path, fields: dict[str, Any], field: str) -> None:
    async with house(tmp_path) as home, refused(field):
        await home.sessions.CreateSession(creation(**fields), CALLER)


async def test_bad_requests(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        async with refused("request_id"):
            request = pb.CreateSessionRequest(request_id="q" * 129)
            await home.sessions.CreateSession(request, CALLER)
        async with refused("name"):
            await home.sessions.GetSession(pb.GetSessionRequest(name="runs/a"), CALLER)
        async with refused("name"):
            await home.sessions.DeleteSession(pb.DeleteSessionRequest(), CALLER)
        async with refused("page_size"):
            await home.sessions.ListSessions(pb.ListSessionsRequest(page_size=-1), CALLER)
        async with refused("page_token"):
            await home.sessions.ListSessions(pb.ListSessionsRequest(page_token="AAAA"), CALLER)
