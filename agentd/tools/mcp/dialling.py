"""Reach a declared MCP server, and greet it."""

import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

from agentd.tools.mcp.connection import SdkConnection, greet
from agentd.tools.mcp.ports import NoAnswer, Process, innermost
from agentd.tools.mcp.screen import Screen
from agentd.tools.mcp.transports import http_transport, process_transport

for _name in ("mcp", "client", "httpx2"):
    # The SDK writes what servers send into the log, and they may send what they like.
    logging.getLogger(_name).setLevel(logging.CRITICAL)


@asynccontextmanager
async def dial_process(
    process: Process, changed: Callable[[], None], timeout_s: float
) -> AsyncGenerator[SdkConnection]:
    """Greet a process, and end it afterwards. Raises what `greet` raises."""
    screen = Screen()
    try:
        transport = process_transport(process, screen)
        async with greet(transport, screen, changed, timeout_s) as connection:
            yield connection
    except Exception as error:
        if isinstance(innermost(error), NoAnswer):
            raise NoAnswer(screen.ended or str(innermost(error))) from None  # With its last words.
        raise


@asynccontextmanager
async def dial_url(
    url: str, headers: Mapping[str, str], changed: Callable[[], None], timeout_s: float
) -> AsyncGenerator[SdkConnection]:
    """Greet a server that speaks streamable HTTP. Raises what `greet` raises."""
    screen = Screen()
    transport = http_transport(url, headers, screen)
    async with greet(transport, screen, changed, timeout_s) as connection:
        yield connection
