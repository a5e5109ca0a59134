"""Serve SessionService: create, read and delete sessions."""
# ruff: noqa: N802  (methods bear the contract's names)

from agentd.runtime.sessions import Sessions
from agentd.services import checks, convert, parse
from agentd.services.caller import Caller
from agentd.services.pages import cut, parse_page
from agentd.v1 import session_service_pb2 as pb


class SessionService:
    """The methods of `agentd.v1.SessionService`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def CreateSession(
        self, request: pb.CreateSessionRequest, caller: Caller
    ) -> pb.CreateSessionResponse:
        """Create an empty session; a request without one means one without a name."""
        created = await self._sessions.create_session(
            parse.session(request.session, caller.namespace),
            request_id=checks.request_id(request.request_id),
        )
        return pb.CreateSessionResponse(session=convert.session(created))

    async def GetSession(
        self, request: pb.GetSessionRequest, caller: Caller
    ) -> pb.GetSessionResponse:
        """Return a session."""
        found = await self._sessions.get_session(caller.namespace, parse.session_id(request.name))
        return pb.GetSessionResponse(session=convert.session(found))

    async def ListSessions(
        self, request: pb.ListSessionsRequest, caller: Caller
    ) -> pb.ListSessionsResponse:
        """List sessions, newest first."""
        page = parse_page(request, str, "ListSessions", caller.namespace)
        found = await self._sessions.list_sessions(
            caller.namespace, after=page.position or "", limit=page.size + 1
        )
        shown, more = cut([convert.session(session) for session in found], page.size)
        token = page.token(found[len(shown) - 1].cursor) if more else ""
        return pb.ListSessionsResponse(sessions=shown, next_page_token=token)

    async def DeleteSession(
        self, request: pb.DeleteSessionRequest, caller: Caller
    ) -> pb.DeleteSessionResponse:
        """Delete a session whose runs have ended."""
        await self._sessions.delete_session(caller.namespace, parse.session_id(request.name))
        return pb.DeleteSessionResponse()
