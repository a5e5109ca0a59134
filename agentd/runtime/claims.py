"""Make creating requests repeatable: a request id is claimed in the transaction of its effect."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

import msgspec

from agentd.agent.ids import Namespace
from agentd.errors import InvalidRequest, Reason
from agentd.runtime.ports import Clock, Journal, Record

KIND = "request"


class _Claim(msgspec.Struct, frozen=True):
    """What is stored of a request."""

    method: str
    digest: str
    answer: str


class RequestClaims:
    """The request ids that were used."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._locks = KeyedLocks()

    @asynccontextmanager
    async def hold(self, namespace: Namespace, request_id: str) -> AsyncIterator[None]:
        """Keep other requests with the same id waiting, so that only one of them has an effect."""
        if not request_id:
            yield
            return
        async with self._locks.hold((namespace, request_id)):
            yield

    async def find(
        self, namespace: Namespace, request_id: str, method: str, digest: str
    ) -> str | None:
        """Return the name that the first request with this id was answered with, if there was one.

        Raises InvalidRequest (REQUEST_ID_REUSED) when that had another method or content.
        """
        if not request_id:
            return None
        record = await self._journal.get(KIND, namespace, request_id)
        if record is None:
            return None
        claim = msgspec.msgpack.decode(record.body, type=_Claim)
        if (claim.method, claim.digest) != (method, digest):
            raise InvalidRequest(
                Reason.REQUEST_ID_REUSED,
                f"the request_id {request_id!r} was used before, by {claim.method} "
                "with another content",
                metadata={"request_id": request_id, "method": claim.method},
            )
        return claim.answer

    def records(
        self, namespace: Namespace, request_id: str, method: str, digest: str, answer: str
    ) -> tuple[Record, ...]:
        """Return what is to be stored in the transaction of the request: nothing without an id."""
        if not request_id:
            return ()
        body = msgspec.msgpack.encode(_Claim(method, digest, answer))
        return (Record(KIND, namespace, request_id, body, create_time_ms=self._clock.now_ms()),)


def request_digest(request: object) -> str:
    """Return the SHA-256 of a request (a dataclass), whatever the order of its mappings."""
    plain = msgspec.to_builtins(request, str_keys=True, order="deterministic")
    return hashlib.sha256(msgspec.msgpack.encode(plain)).hexdigest()


class KeyedLocks:
    """One lock for each key that somebody holds or waits for."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, key: Hashable) -> AsyncIterator[None]:
        """Hold the lock of a key."""
        lock, users = self._locks.get(key) or (asyncio.Lock(), 0)
        self._locks[key] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = lock, users - 1
