"""A daemon as a Python program sees it: its agents, sessions, runs and tools, and its journal."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from google.protobuf.message import Message

from agentd.client.approvals import Approvals
from agentd.client.channel import credentials, parse_address
from agentd.client.host import DEFAULT_CAPACITY, ToolHost
from agentd.client.resources import Agents, Runs, Sessions, System, Tools
from agentd.client.retry import RetryPolicy
from agentd.client.transport import DEFAULT_TIMEOUT_S, Transport
from agentd.client.watch import Watch
from agentd.errors import AgentdError
from agentd.v1.event_pb2 import Event
from agentd.v1.event_service_pb2 import (
    EventFilter,
    ListEventsRequest,
    ListEventsResponse,
    WatchRequest,
)
from agentd.v1.run_service_pb2 import CreateRunResponse

R = TypeVar("R", bound=Message)


def connect(
    address: str,
    *,
    token_file: Path | None = None,
    namespace: str = "default",
    retry: RetryPolicy | None = None,
) -> "Client":
    """Return a client of the daemon at `unix:/path` or `host:port`.

    Nothing is dialled before the first request, which raises Unavailable (UNREACHABLE) when nobody
    answers. Use it as `async with connect(...) as client`, or close it.
    """
    metadata = credentials(token_file, namespace)
    return Client(Transport(parse_address(address), metadata, retry or RetryPolicy()))


class Client:
    """A connection to a daemon. May be used from many tasks of one event loop at once."""

    def __init__(self, transport: Transport) -> None:
        self.agents = Agents(transport)
        self.sessions = Sessions(transport)
        self.runs = Runs(transport)
        self.approvals = Approvals(transport)
        self.tools = Tools(transport)
        self.system = System(transport)
        self._transport = transport

    @property
    def address(self) -> str:
        """Where the daemon is: `unix:/path` or `host:port`."""
        return self._transport.address

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection. Runs go on."""
        await self._transport.close()

    async def call(
        self, request: Message, response: type[R], *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> R:
        """Send any request of the contract whose method answers once. See Transport.call."""
        return await self._transport.call(request, response, timeout_s=timeout_s)

    def watch(
        self,
        events: EventFilter | None = None,
        *,
        after_revision: int = 0,
        include_deltas: bool = False,
        until_ended: bool = False,
        sequences: Mapping[str, int] | None = None,
        on_interruption: Callable[[AgentdError], None] | None = None,
    ) -> Watch:
        """Follow the journal: `async for item in client.watch(...)`. See Watch.

        `after_revision` 0 means from the oldest event, -1 from now on. `until_ended` ends the watch
        when every run that the filter names has ended. `sequences` gives the newest sequence
        already seen of runs (0: none), so that their first event is checked too.
        """
        request = WatchRequest(
            filter=events,
            after_revision=after_revision,
            include_deltas=include_deltas,
            until_ended=until_ended,
        )
        return Watch(self._transport, request, sequences=sequences, on_interruption=on_interruption)

    async def events(
        self, events: EventFilter | None = None, *, after_revision: int = 0
    ) -> AsyncIterator[Event]:
        """Yield the events that are recorded by now, oldest first."""
        request = ListEventsRequest(filter=events, after_revision=after_revision, page_size=1000)
        async for page in self._transport.pages(request, ListEventsResponse):
            for event in page.events:
                yield event

    def follow(
        self,
        created: CreateRunResponse,
        *,
        on_interruption: Callable[[AgentdError], None] | None = None,
    ) -> Watch:
        """Follow a run from its first event to its last, with deltas."""
        return self.watch(
            EventFilter(runs=[created.run.name]),
            after_revision=created.revision,
            include_deltas=True,
            until_ended=True,
            sequences={created.run.name: 0},
            on_interruption=on_interruption,
        )

    def host(
        self,
        toolset: str,
        functions: Iterable[Callable[..., Any]],
        *,
        host: str = "",
        capacity: int = DEFAULT_CAPACITY,
    ) -> ToolHost:
        """Return a host that offers functions of this process as `toolset/{function name}`.

        Use it as `async with client.host("notes", [read, write])`: inside, the tools are
        registered and calls are executed. `host` is the id kept over restarts of this program;
        without one, an id is made.
        """
        return ToolHost(self._transport, toolset, tuple(functions), host=host, capacity=capacity)
