"""What libagentd does once it is in Python: blocking verbs for the threads of a host, carried out
on one event loop in its own thread. Knows nothing of C: an `Ask` comes in, an `Answer` goes out.

A client is a daemon inside this process (`embedded:DIR`) or a channel to another's. Either is kept
by one task from its opening to its closing; requests and streams are tasks of the same loop.
"""

import asyncio
import itertools
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, assert_never

import uvloop
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from agentd.carriers.payload import Encoding, StatusError, encode_status
from agentd.carriers.remote import RemoteCarrier
from agentd.client.channel import credentials, open_channel, parse_address
from agentd.errors import AgentdError, InvalidRequest, Reason, Unavailable
from agentd.services.status import to_status, unexpected

EMBEDDED = "embedded:"
"""How the address of a daemon in this process begins; the directory of its state follows."""
READ_AHEAD = 16
"""How many messages of a stream may wait for the host."""
LONGEST_MS = 10 * 365 * 86_400_000
"""A timeout beyond this is none."""
CLOSE_TIMEOUT_S = 60.0
"""When a client that is being closed is left to itself."""
DEADLINE_EXCEEDED = 4
"""The code of `google/rpc/code.proto` for a request that its caller stopped waiting for."""
EMBEDDED_FLAGS = {"log.level": "warning", "server.drain_timeout_s": "5"}
"""What a daemon in somebody else's process does otherwise, unless its settings say so."""

T = TypeVar("T")
AsyncContext: TypeAlias = AbstractAsyncContextManager["Methods"]


class Verb(IntEnum):
    """What is asked. The numbers are those of `bindings/c/src/glue.h`."""

    OPEN = 1
    CLOSE = 2
    CALL = 3
    STREAM = 4
    NEXT = 5
    CANCEL = 6
    FREE = 7


class Kind(IntEnum):
    """How it went. The numbers are those of `agentd_status` in `agentd.h`; 0 is not among them."""

    FAILED = -1
    DONE = 1
    END = 2
    TIMEOUT = 3


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of the host."""

    verb: Verb
    id: int = 0
    """The client, or the stream for NEXT, CANCEL and FREE."""
    name: str = ""
    """The address for OPEN; the method's full name for CALL and STREAM."""
    data: bytes = b""
    timeout_ms: int = -1
    """How long the host waits; negative means without end."""
    encoding: Encoding = Encoding.JSON
    namespace: str = ""
    token_file: str = ""
    settings: str = ""
    """Keys of the configuration for an embedded daemon, `key = value` on a line each."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it."""

    kind: Kind
    id: int = 0
    """The new client or stream."""
    data: bytes = b""
    """The answer's bytes, or those of the `google.rpc.Status` when it failed."""
    code: int = 0
    reason: str = ""
    message: str = ""


class Methods(Protocol):
    """What a client asks: the carrier inside this process, or the way to another's."""

    async def call(self, name: str, data: bytes, encoding: Encoding) -> bytes:
        """Return an answer. Raises StatusError."""
        ...

    def stream(self, name: str, data: bytes, encoding: Encoding) -> AsyncGenerator[bytes]:
        """Yield answers. Raises StatusError."""
        ...


def perform(ask: Ask) -> Answer:
    """Carry out a request and wait for its end. May be called from any thread; never raises."""
    try:
        match ask.verb:
            case Verb.OPEN:
                return Answer(Kind.DONE, _clients.add(_open(ask)))
            case Verb.CLOSE:
                _clients.take(ask.id).close()
                return Answer(Kind.DONE)
            case Verb.CALL:
                client = _clients.get(ask.id)
                return Answer(Kind.DONE, data=client.call(ask.name, ask.data, ask.timeout_ms))
            case Verb.STREAM:
                client = _clients.get(ask.id)
                return Answer(Kind.DONE, _streams.add(client.stream(ask.name, ask.data)))
            case Verb.NEXT:
                return _streams.get(ask.id).next(ask.timeout_ms)
            case Verb.CANCEL:
                _streams.get(ask.id).end(Answer(Kind.END))
                return Answer(Kind.DONE)
            case Verb.FREE:
                _streams.take(ask.id).end(Answer(Kind.END))
                return Answer(Kind.DONE)
            case _:
                assert_never(ask.verb)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this request's answer
        return _failure(error, ask.name or ask.verb.name, ask.encoding)


class _Table(Generic[T]):
    """Things by number. A number is never given twice."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._things: dict[int, T] = {}
        self._numbers = itertools.count(1)

    def add(self, thing: T) -> int:
        """Keep a thing; return its number."""
        number = next(self._numbers)
        self._things[number] = thing
        return number

    def get(self, number: int) -> T:
        """Return a thing. Raises Unavailable (DRAINING) for one that is gone."""
        thing = self._things.get(number)
        if thing is None:
            raise _closed(self._what)
        return thing

    def take(self, number: int) -> T:
        """Return a thing and forget it. Raises as `get` does."""
        thing = self._things.pop(number, None)
        if thing is None:
            raise _closed(self._what)
        return thing


class _Loop:
    """One event loop in a thread of its own, until the process ends."""

    def __init__(self) -> None:
        self._started: Future[asyncio.AbstractEventLoop] = Future()
        # A daemon thread: it must not keep a host from ending that forgot to close.
        threading.Thread(target=self._run, name="agentd", daemon=True).start()
        self.loop = self._started.result()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        self._started.set_result(asyncio.get_running_loop())
        await asyncio.Event().wait()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start work as a task of the loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)


class _Stream:
    """One stream, read a few messages ahead of the host, which pulls them from its own thread."""

    def __init__(self, loop: _Loop, messages: AsyncGenerator[bytes], client: "_Client") -> None:
        self._arrived: SimpleQueue[Answer] = SimpleQueue()
        self._room = asyncio.Semaphore(READ_AHEAD)
        self._loop = loop
        self._client = client
        self._end: Answer | None = None
        self._task = loop.submit(self._pump(messages))

    async def _pump(self, messages: AsyncGenerator[bytes]) -> None:
        end = Answer(Kind.END)
        try:
            async with aclosing(messages):
                async for message in messages:
                    await self._room.acquire()
                    self._arrived.put(Answer(Kind.DONE, data=message))
        except Exception as error:  # noqa: BLE001 - whatever it is, the stream ends with it
            end = _failure(error, "stream", self._client.encoding)
        self._arrived.put(end)

    def next(self, timeout_ms: int) -> Answer:
        """Return the next message, or TIMEOUT; after the last one, the same end again and again."""
        if self._end is not None:
            return self._end
        try:
            answer = self._arrived.get(timeout=_seconds(timeout_ms))
        except Empty:
            return Answer(Kind.TIMEOUT)
        if self._end is not None:  # it was ended while we waited
            answer = self._end
        if answer.kind is Kind.DONE:
            self._loop.loop.call_soon_threadsafe(self._room.release)
            return answer
        self._end = answer
        self._arrived.put(answer)  # for whoever else waits
        self._client.forget(self)
        return answer

    def end(self, answer: Answer) -> None:
        """Stop reading. Who waits, and who asks from now on, gets this answer."""
        self._end = self._end or answer
        self._task.cancel()
        self._arrived.put(self._end)
        self._client.forget(self)


class _Client:
    """One open daemon: its methods, and everything that is in progress there."""

    def __init__(self, loop: _Loop, methods: AsyncContext, encoding: Encoding) -> None:
        self.encoding = encoding
        self._loop = loop
        self._stop = asyncio.Event()
        self._lock = threading.Lock()
        self._calls: set[Future[bytes]] = set()
        self._streams: set[_Stream] = set()
        self._closed = False
        opened: Future[Methods] = Future()
        self._keeper = loop.submit(self._keep(methods, opened))
        self._methods = opened.result()

    async def _keep(self, methods: AsyncContext, opened: "Future[Methods]") -> None:
        """Hold the daemon open until it is closed."""
        try:
            async with methods as found:
                opened.set_result(found)
                await self._stop.wait()
        except BaseException as error:
            if opened.done():
                raise
            opened.set_exception(error)

    def call(self, name: str, data: bytes, timeout_ms: int) -> bytes:
        """Return the answer of a method. Raises StatusError, and Unavailable once it is closed."""
        with self._lock:
            self._check()
            future = self._loop.submit(
                _bounded(self._methods, name, data, self.encoding, timeout_ms)
            )
            self._calls.add(future)
        try:
            return future.result()
        except CancelledError:
            raise _closed("client") from None
        finally:
            with self._lock:
                self._calls.discard(future)

    def stream(self, name: str, data: bytes) -> _Stream:
        """Return a stream that has begun. Raises Unavailable once it is closed."""
        with self._lock:
            self._check()
            messages = self._methods.stream(name, data, self.encoding)
            stream = _Stream(self._loop, messages, self)
            self._streams.add(stream)
        return stream

    def forget(self, stream: _Stream) -> None:
        """Let go of a stream that has ended."""
        with self._lock:
            self._streams.discard(stream)

    def close(self) -> None:
        """End what is in progress, then the daemon; return when all it promised is stored."""
        with self._lock:
            self._closed = True
            calls, streams = list(self._calls), list(self._streams)
        for call in calls:
            call.cancel()
        for stream in streams:
            stream.end(_failure(_closed("client"), "stream", self.encoding))
        self._loop.loop.call_soon_threadsafe(self._stop.set)
        self._keeper.result(CLOSE_TIMEOUT_S)

    def _check(self) -> None:
        if self._closed or self._keeper.done():
            raise _closed("client")


def _seconds(timeout_ms: int) -> float | None:
    """Return a timeout as Python takes it. Beyond some time the clocks below overflow."""
    return None if timeout_ms < 0 or timeout_ms > LONGEST_MS else timeout_ms / 1000


async def _bounded(
    methods: Methods, name: str, data: bytes, encoding: Encoding, timeout_ms: int
) -> bytes:
    try:
        async with asyncio.timeout(_seconds(timeout_ms)):
            return await methods.call(name, data, encoding)
    except TimeoutError:
        error = Unavailable(Reason.UNREACHABLE, f"no answer within {timeout_ms} ms")
        status = to_status(error)
        status.code = DEADLINE_EXCEEDED
        raise StatusError(status) from None


@cache
def _started() -> _Loop:
    return _Loop()


def _loop() -> _Loop:
    """Return the loop of this process, started at the first use."""
    with _starting:
        return _started()


def _open(ask: Ask) -> _Client:
    if ask.name.startswith(EMBEDDED):
        return _Client(_loop(), _embedded(ask), ask.encoding)
    return _Client(_loop(), _remote(ask), ask.encoding)


@asynccontextmanager
async def _remote(ask: Ask) -> AsyncIterator[Methods]:
    """Hold a channel to another process's daemon. Nothing is dialled before the first request."""
    address = parse_address(ask.name)
    token_file = Path(ask.token_file) if ask.token_file else None
    metadata = credentials(token_file, ask.namespace)
    async with open_channel(address) as channel:
        yield RemoteCarrier(channel, address, metadata)


@asynccontextmanager
async def _embedded(ask: Ask) -> AsyncIterator[Methods]:
    """Run a daemon in this process, on the state of a directory."""
    # Who only wants another process's daemon pays neither the time nor the memory of these.
    from agentd import log  # noqa: PLC0415
    from agentd.config import load  # noqa: PLC0415
    from agentd.daemon import Daemon  # noqa: PLC0415

    directory = ask.name.removeprefix(EMBEDDED)
    if not directory:
        raise InvalidRequest(Reason.INVALID_CONFIG, f"{EMBEDDED} must name a directory")
    flags = {**EMBEDDED_FLAGS, **_settings(ask.settings)}
    flags["state.directory"] = str(Path.cwd() / directory)
    if ask.namespace:
        flags["client.namespace"] = ask.namespace
    config = load(flags)
    log.configure(level=config.log.level, format=config.log.format)
    async with Daemon(config).inside() as carrier:
        yield carrier


def _settings(text: str) -> dict[str, str]:
    """Return keys and values of the configuration. Raises InvalidRequest (INVALID_CONFIG)."""
    found = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        key, separator, value = line.partition("=")
        if not separator:
            message = f"the setting {line[:80]!r} is not of the form key = value"
            raise InvalidRequest(Reason.INVALID_CONFIG, message)
        found[key.strip()] = value.strip()
    return found


def _failure(error: BaseException, name: str, encoding: Encoding) -> Answer:
    """Return an error as the host gets it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case StatusError():
            status = error.status
        case AgentdError():
            status = to_status(error)
        case _:
            status = unexpected(error, name)
    return Answer(
        Kind.FAILED,
        data=encode_status(status, encoding),
        code=status.code,
        reason=_reason(status),
        message=status.message,
    )


def _reason(status: Status) -> str:
    info = ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return str(info.reason)
    return ""


def _closed(what: str) -> Unavailable:
    return Unavailable(Reason.DRAINING, f"the {what} is closed")


_clients: _Table[_Client] = _Table("client")
_streams: _Table[_Stream] = _Table("stream")
_starting = threading.Lock()
