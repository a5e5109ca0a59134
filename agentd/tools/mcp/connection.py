"""Speak with one MCP server through the SDK, which is imported here and in what this imports.

What a server asks of us (sampling, elicitation, roots) is refused: the SDK does so when it is given
nobody to ask, and says to the server from the start that there is nobody.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from typing import Any

import mcp_types as types
from mcp.client import Client, IncomingMessage
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import TypeAdapter, ValidationError

from agentd import __version__
from agentd.tools.mcp.catalogue import MAX_LIST_BYTES, MAX_TOOLS, Unlistable, canonical
from agentd.tools.mcp.ports import ErrorAnswer, NoAnswer, Progress, innermost
from agentd.tools.mcp.screen import Screen, screened
from agentd.tools.mcp.text import clean

MAX_PAGES = 64
"""The most pages of a tool list."""
LISTEN_S = 5.0
"""How long a server may take to agree to tell of changes, before its tools are listed."""
LISTEN_AGAIN_S = 5.0
"""How long to wait before listening again for changes, after a server stopped telling."""
_MAX_REASON = 500
_HTTP_FAULT = "Server returned an error response"
"""What the SDK makes of an HTTP status from 400 on without a message of the protocol."""

_ANSWER: TypeAdapter[Any] = TypeAdapter(types.CallToolResult | types.InputRequiredResult)


class SdkConnection:
    """A server that has been greeted."""

    def __init__(self, client: Client, screen: Screen) -> None:
        self._client = client
        self._screen = screen

    @property
    def stirred(self) -> asyncio.Event:
        """Set when the list of tools may have changed, and when the connection has ended."""
        return self._screen.stirred

    @property
    def ended(self) -> str:
        """Why the connection has ended; empty while it has not."""
        return self._screen.ended

    async def list_tools(self) -> bytes:
        """Return the tool list in its canonical form.

        Raises Unlistable when it is beyond our bounds, NoAnswer, or ErrorAnswer.
        """
        if self._client.server_capabilities.tools is None:
            return canonical([])
        entries: list[Mapping[str, Any]] = []
        size, cursor = 0, None
        for _ in range(MAX_PAGES):
            page = await self._page(cursor)
            usable = {tool.name for tool in page.tools}
            entries += [entry for entry in self._screen.raw_tools if entry["name"] in usable]
            size += sum(len(str(entry)) for entry in self._screen.raw_tools)
            cursor = page.next_cursor
            if cursor is None:
                return await asyncio.to_thread(canonical, entries)
            if len(entries) > MAX_TOOLS or size > MAX_LIST_BYTES:
                break
        raise Unlistable("it lists its tools without an end")

    async def call(self, name: str, arguments: dict[str, Any], note: Progress) -> Mapping[str, Any]:
        """Return a tool's `CallToolResult` as JSON, or raise NoAnswer or ErrorAnswer.

        Cancelling it tells the server, which need not heed it.
        """

        async def heard(progress: float, total: float | None, message: str | None) -> None:
            fraction = progress / total if total else -1.0
            note(fraction if 0 <= fraction <= 1 else -1.0, message or "")

        request = types.CallToolRequest(
            params=types.CallToolRequestParams(name=name, arguments=arguments)
        )
        with _answers():
            # Not `call_tool`: it raises when a result breaks the server's own output schema, after
            # the tool has had its effect.
            answer = await self._client.session.send_request(
                request, _ANSWER, progress_callback=heard
            )
        if not isinstance(answer, types.CallToolResult):
            raise ErrorAnswer("it asks for something in return, which agentd does not give")
        return answer.model_dump(by_alias=True, mode="json", exclude_unset=True)

    async def _page(self, cursor: str | None) -> types.ListToolsResult:
        params = types.PaginatedRequestParams(cursor=cursor) if cursor is not None else None
        with _answers():
            return await self._client.session.list_tools(params=params)


class _answers:  # noqa: N801 - it reads as a verb
    """Translate what the SDK raises when a request got no result."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        cause = innermost(error) if error is not None else None
        match cause:
            case MCPError() if cause.code == types.CONNECTION_CLOSED:
                raise NoAnswer("the connection ended before the answer") from None
            case MCPError() if cause.code == types.PARSE_ERROR or cause.message == _HTTP_FAULT:
                # Made by the SDK: a gateway that gives up says nothing of what the tool did.
                raise NoAnswer(clean(cause.message, _MAX_REASON)) from None
            case MCPError():
                raise ErrorAnswer(clean(cause.message, _MAX_REASON) or "an error") from None
            case ValidationError():
                raise NoAnswer("the answer is not one of the protocol's") from None
            case RuntimeError():
                raise NoAnswer(clean(str(cause), _MAX_REASON)) from None
            case _:
                pass


@asynccontextmanager
async def greet(
    transport: AbstractAsyncContextManager[Any],
    screen: Screen,
    changed: Callable[[], None],
    timeout_s: float,
) -> AsyncGenerator[SdkConnection]:
    """Shake hands with a server, and listen for changes of its tools.

    Raises TimeoutError, NoAnswer, ErrorAnswer, or whatever the transport raises.
    """

    def note() -> None:
        changed()
        screen.stirred.set()

    async def heard(message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            note()

    client = Client(
        screened(transport, screen),
        message_handler=heard,
        client_info=types.Implementation(name="agentd", version=__version__),
        cache=None,
    )
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(timeout_s):
            with _answers():
                await stack.enter_async_context(client)
        screen.version = client.protocol_version
        group = await stack.enter_async_context(asyncio.TaskGroup())
        listening = asyncio.Event()
        listener = group.create_task(_listen(client, screen, note, listening))
        with suppress(TimeoutError):  # Of what changes before somebody listens, nobody is told.
            async with asyncio.timeout(LISTEN_S):
                await listening.wait()
        listening.set()
        yield SdkConnection(client, screen)
        listener.cancel()


async def _listen(
    client: Client, screen: Screen, note: Callable[[], None], listening: asyncio.Event
) -> None:
    """Hear of changes in the way of the newer protocol, where they must be asked for."""
    tools = client.server_capabilities.tools
    newer = client.protocol_version in MODERN_PROTOCOL_VERSIONS
    with suppress(MCPError):  # A server that refuses is looked at now and then all the same.
        while newer and tools and tools.list_changed and not screen.ended:
            with suppress(SubscriptionLost):
                async with client.listen(tools_list_changed=True) as events:
                    if listening.is_set():
                        note()  # There may have been a change before anybody listened.
                    listening.set()
                    async for _ in events:
                        pass  # The session hears them too, as it does the older protocol's.
            await asyncio.sleep(LISTEN_AGAIN_S)
    listening.set()
