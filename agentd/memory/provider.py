"""The embedder that asks a provider: `POST {base_url}/embeddings`, as OpenAI has it.

What is remembered leaves this machine with it. Nothing is retried here: memories whose vectors are
missing are found by words, and are tried again later.
"""

import asyncio
import importlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from agentd.agent.memory import Vector
from agentd.errors import Reason, Unavailable
from agentd.memory.vectors import unit

if TYPE_CHECKING:
    import httpcore2

REQUEST_S: Final = 30.0
MAX_BATCH: Final = 64
MAX_CHARACTERS: Final = 24_000
"""Of one text: providers refuse more than some 8,000 tokens."""
MAX_ANSWER_BYTES: Final = 32 << 20


class _Item(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _Answer(msgspec.Struct):
    data: list[_Item]


class ProviderEmbedder:
    """The port `Embedder` over HTTP."""

    lexical = False

    def __init__(self, *, base_url: str, model: str, key: str = "", floor: float = 0.2) -> None:
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._model = model
        self._key = key
        self._pool: httpcore2.AsyncConnectionPool | None = None
        self.name = re.sub(r"[^a-z0-9-]+", "-", model.lower()).strip("-") or "provider"
        self.floor = floor

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return a vector for each text.

        Raises Unavailable (UNREACHABLE) when there is no answer, or none that makes sense.
        """
        vectors: list[Vector] = []
        for start in range(0, len(texts), MAX_BATCH):
            batch = [text[:MAX_CHARACTERS] for text in texts[start : start + MAX_BATCH]]
            vectors += await self._ask(batch)
        return vectors

    async def close(self) -> None:
        """Close connections."""
        if self._pool is not None:
            await self._pool.aclose()

    async def _ask(self, texts: Sequence[str]) -> list[Vector]:
        http: Any = await asyncio.to_thread(importlib.import_module, "httpcore2")
        if self._pool is None:
            self._pool = http.AsyncConnectionPool(max_connections=4)
        headers = [("Content-Type", "application/json"), ("Accept", "application/json")]
        if self._key:
            headers.append(("Authorization", f"Bearer {self._key}"))
        body = msgspec.json.encode({"model": self._model, "input": texts})
        try:
            async with (
                asyncio.timeout(REQUEST_S),
                self._pool.stream("POST", self._url, headers=headers, content=body) as response,
            ):
                answer = await _read(response)
        except TimeoutError as error:
            raise _fault(f"{self._url} did not answer in {REQUEST_S:g} s") from error
        except (http.NetworkError, http.ProtocolError, ValueError) as error:
            raise _fault(f"{self._url} cannot be reached: {error}") from error
        if response.status != 200:
            raise _fault(f"{self._url} answered {response.status}")
        return _parse(answer, len(texts), self._url)


async def _read(response: "httpcore2.Response") -> bytes:
    data = bytearray()
    async for chunk in response.aiter_stream():
        data += chunk
        if len(data) > MAX_ANSWER_BYTES:
            raise _fault(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
    return bytes(data)


def _parse(answer: bytes, count: int, url: str) -> list[Vector]:
    try:
        found = msgspec.json.decode(answer, type=_Answer).data
    except msgspec.DecodeError as error:
        raise _fault(f"{url} gave no embeddings: {error}") from error
    items = sorted(found, key=lambda item: item.index)
    sizes = {len(item.embedding) for item in items}
    if len(items) != count or len(sizes) != 1 or 0 in sizes:
        raise _fault(f"{url} gave {len(items)} embeddings of {count}, of the sizes {sorted(sizes)}")
    return [unit(item.embedding) for item in items]


def _fault(message: str) -> Unavailable:
    return Unavailable(Reason.UNREACHABLE, message)
