"""Keep one MCP server connected, its tools pinned, and its calls truthful.

Trust on first use: the first list that a server ever shows is accepted as it is. From then on its
tools are those that were accepted, even over restarts and while it is away; a server that shows
others is paused until somebody accepts those.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from agentd.agent.hosting import Failed, Outcome, OutcomeUnknown, Stopped
from agentd.agent.tool import Tool
from agentd.errors import AgentdError, Conflict, Corrupt, Reason
from agentd.tools.mcp.catalogue import Catalogue, Unlistable, differences, digest_of, translate
from agentd.tools.mcp.ports import (
    Connect,
    Connection,
    ErrorAnswer,
    NoAnswer,
    PinStore,
    Progress,
    innermost,
)
from agentd.tools.mcp.results import outcome_of
from agentd.tools.mcp.server import McpServer, Phase, ServerState
from agentd.tools.mcp.text import clean

_MAX_REASON = 500


class Patience(msgspec.Struct, frozen=True):
    """How long a server is waited for, in seconds."""

    greet_s: float = 30.0
    """For a connection; a server without the newer protocol may take 10 s to say so."""
    list_s: float = 30.0
    """For the whole list of tools."""
    ready_s: float = 10.0
    """For a server that is not connected, before a call is refused."""
    review_s: float = 300.0
    """Between two looks at the list of a server that says nothing of a change."""
    breath_s: float = 1.0
    """Between two looks at the list of a server that says so all the time."""
    first_retry_s: float = 0.5
    last_retry_s: float = 60.0
    """The pause before connecting again doubles from the first to the last."""
    steady_s: float = 60.0
    """A connection that lasted this long makes the next pause the first again."""

    def pause_s(self, failures: int, fraction: float) -> float:
        """Return the pause after so many failures in a row. Half of it is chance, of which
        `fraction` says how much: servers that fell together do not come back together."""
        longest = min(self.first_retry_s * 2.0 ** min(failures, 20), self.last_retry_s)
        return longest * (1 + fraction) / 2


class Supervisor:
    """One server."""

    def __init__(
        self,
        server: McpServer,
        connect: Connect,
        pins: PinStore,
        *,
        patience: Patience,
        fraction: Callable[[], float],
        on_change: Callable[[], None],
    ) -> None:
        self.server = server
        self._connect = connect
        self._pins = pins
        self._patience = patience
        self._fraction = fraction
        self._on_change = on_change
        self._phase = Phase.CONNECTING
        self._reason = ""
        self._connection: Connection | None = None
        self._settled = asyncio.Event()
        """Set while the server is there, and its tools are known to be, or not to be, those that
        were accepted."""
        self._accepted: bytes | None = None
        self._offered: bytes | None = None
        """A list that waits to be accepted."""
        self._catalogue = Catalogue()

    @property
    def catalogue(self) -> Catalogue:
        """The tools that are accepted."""
        return self._catalogue

    def state(self) -> ServerState:
        """Say how the server is doing."""
        accepted, offered = self._accepted, self._offered
        waiting = accepted is not None and offered is not None
        return ServerState(
            name=self.server.name,
            phase=self._phase,
            reason=self._reason,
            digest=digest_of(accepted) if accepted is not None else "",
            offered_digest=digest_of(offered) if offered is not None else "",
            changes=differences(accepted or b"[]", offered or b"[]") if waiting else (),
            tools=len(self._catalogue.tools),
            faults=self._catalogue.faults,
        )

    def fail(self, reason: str) -> None:
        """Say that the server cannot be reached."""
        self._connection = None
        self._settled.clear()
        self._enter(Phase.FAILING, reason)

    async def restore(self) -> None:
        """Take in what was accepted before the daemon was started.

        Raises Corrupt (JOURNAL_CORRUPT) when that cannot be read.
        """
        pin = await self._pins.get(self.server.name)
        if pin is not None:
            await self._adopt(pin)

    async def run(self) -> None:
        """Keep the server connected until cancelled."""
        failures = 0
        while True:
            begin_s = _now_s()
            reason = await self._attempt()
            failures = 0 if _now_s() - begin_s > self._patience.steady_s else failures
            self.fail(reason)
            await asyncio.sleep(self._patience.pause_s(failures, self._fraction()))
            failures += 1

    async def accept(self, digest: str) -> None:
        """Accept the list that is offered.

        Raises Conflict (ETAG_MISMATCH) when none is, or one with another digest.
        """
        offered = self._offered
        if offered is None or digest_of(offered) != digest:
            raise Conflict(
                Reason.ETAG_MISMATCH,
                f"the MCP server {self.server.name} does not offer tools with that digest",
                metadata={"server": self.server.name, "digest": digest},
            )
        await self._pins.put(self.server.name, offered)
        await self._adopt(offered)
        if self._offered == offered:
            self._offered = None
            if self._phase is Phase.PAUSED:
                self._resume()
        self._on_change()

    async def call(
        self, name: str, tool: Tool, arguments: dict[str, Any], note: Progress
    ) -> Outcome:
        """Return what became of a call.

        A CancelledError that leaves has the outcome, as far as it is known, as its argument.
        """
        try:
            refusal = await self._refusal(name)
        except asyncio.CancelledError:
            raise asyncio.CancelledError(Stopped()) from None
        connection = self._connection
        if refusal or connection is None:
            return Failed(refusal or self._says("is not connected"))
        try:
            async with asyncio.timeout(self.server.timeout_ms / 1000):
                return outcome_of(await connection.call(name, arguments, note))
        except TimeoutError:
            message = self._says(f"did not answer within {self.server.timeout_ms / 1000:g} s")
            return Failed(message) if tool.effect.repeatable else OutcomeUnknown(message)
        except NoAnswer as error:
            return OutcomeUnknown(self._says(f"gave no answer: {connection.ended or error}"))
        except ErrorAnswer as error:
            return Failed(self._says(f"answered with an error: {error}"))
        except asyncio.CancelledError:
            raise asyncio.CancelledError(self._interrupted(tool)) from None

    def _interrupted(self, tool: Tool) -> Outcome:
        # The server was told, but need not have heeded it, and what it answers now is not heard.
        if tool.effect.value == 1:
            return Stopped()
        return OutcomeUnknown(self._says("was asked to stop, and has not said how far it had come"))

    async def _attempt(self) -> str:
        """Connect and stay connected; return why that ended."""
        try:
            async with self._connect(self._suspect) as connection:
                await self._review(connection)
                while not connection.ended:
                    await self._stay(connection)
        except Exception as error:  # noqa: BLE001 - whatever a server makes the SDK raise ends it
            return _why(innermost(error))
        else:
            return connection.ended

    async def _stay(self, connection: Connection) -> None:
        """Wait until there is a reason to look at the list of tools again, and look."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience.review_s):
                await connection.stirred.wait()
        connection.stirred.clear()
        if not connection.ended:
            await self._review(connection)
            await asyncio.sleep(self._patience.breath_s)

    async def _review(self, connection: Connection) -> None:
        """Compare the tools that are offered with those that were accepted."""
        async with asyncio.timeout(self._patience.list_s):
            listed = await connection.list_tools()
        self._connection = connection
        if self._accepted is None:
            await self._pins.put(self.server.name, listed)
            await self._adopt(listed)
        if listed == self._accepted:
            self._offered = None
            self._resume()
        else:
            self._offered = listed
            self._settled.set()
            self._enter(Phase.PAUSED, "its tools have changed, and must be accepted")

    def _suspect(self) -> None:
        """Let calls wait until the list has been looked at."""
        self._settled.clear()

    def _resume(self) -> None:
        self._settled.set()
        self._enter(Phase.CONNECTED, "")

    async def _adopt(self, listed: bytes) -> None:
        try:
            # In a thread: schemas that somebody else wrote take what time they like.
            catalogue = await asyncio.to_thread(translate, self.server, listed)
        except msgspec.MsgspecError as error:
            raise Corrupt(
                Reason.JOURNAL_CORRUPT,
                f"the pinned tools of the MCP server {self.server.name} cannot be read ({error})",
                metadata={"server": self.server.name},
            ) from error
        self._accepted, self._catalogue = listed, catalogue

    def _enter(self, phase: Phase, reason: str) -> None:
        self._phase, self._reason = phase, reason
        self._on_change()

    async def _refusal(self, name: str) -> str:
        """Wait for the server, and return why a call cannot be made, or an empty text."""
        if self._connection is not None and self._connection.ended:
            self._suspect()  # Until there is another.
        if self._phase is not Phase.PAUSED:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience.ready_s):
                    await self._settled.wait()
        if self._phase is Phase.PAUSED:
            return self._says("is paused: its tools have changed, and an operator must accept them")
        if not self._settled.is_set():
            return self._says(f"is not available: {self._reason or 'it is being connected'}")
        if all(listed.name != name for listed in self._catalogue.tools):
            return self._says("has no such tool any more")
        return ""

    def _says(self, what: str) -> str:
        return f"the MCP server {self.server.name} {what}"


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _why(error: BaseException) -> str:
    match error:
        case TimeoutError():
            return "it did not answer in time"
        case NoAnswer() | ErrorAnswer() | Unlistable() | AgentdError() | OSError():
            return clean(str(error), _MAX_REASON) or type(error).__name__
        case _:
            return clean(f"{type(error).__name__}: {error}", _MAX_REASON)
