"""A provider's embeddings, from a server on the loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentd.errors import Reason, Unavailable
from agentd.memory.provider import MAX_BATCH, ProviderEmbedder

Answer = Callable[[dict[str, Any]], tuple[int, bytes]]


class Server:
    """Answers embeddings, and keeps what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = next(
            int(line.partition(":")[2])
            for line in head.splitlines()
            if line.lower().startswith("content-length")
        )
        body = json.loads(await reader.readexactly(size))
        self.asked.append((head, body))
        status, answer = self.answer(body)
        size = len(answer)
        line = f"HTTP/1.1 {status} X\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
        writer.write(line.encode() + answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Server]:
    made = Server(answer)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield made


def lengths(body: dict[str, Any]) -> tuple[int, bytes]:
    """Answer with a vector for `x` and another for any other text, in reverse order."""
    items = [
        {"index": index, "embedding": [3.0, 4.0] if text == "x" else [0.0, 2.0]}
        for index, text in enumerate(body["input"])
    ]
    return 200, json.dumps({"data": items[::-1]}).encode()


async def test_asks_in_batches_and_keeps_the_order() -> None:
    async with serving(lengths) as server:
        embedder = ProviderEmbedder(base_url=server.url, model="Text-Embed/3", key="k-1")
        vectors = await embedder.embed([*["x"] * MAX_BATCH, "last"])
        assert len(vectors) == MAX_BATCH + 1
        assert all(vector == pytest.approx((0.6, 0.8)) for vector in vectors[:-1])
        assert vectors[-1] == (0.0, 1.0)
        assert await embedder.embed(["other", "x"]) == [(0.0, 1.0), pytest.approx((0.6, 0.8))]
        assert [len(body["input"]) for _, body in server.asked] == [MAX_BATCH, 1, 2]
        assert server.asked[0][1]["model"] == "Text-Embed/3"
        assert "Authorization: Bearer k-1" in server.asked[0][0]
        assert server.asked[0][0].startswith("POST /v1/embeddings ")
        assert embedder.name == "text-embed-3"
        assert not embedder.lexical
        await embedder.close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda _: (401, b"no"), "answered 401"),
        (lambda _: (200, b"<html>"), "gave no embeddings"),
        (lambda _: (200, b'{"data": []}'), "gave 0 embeddings of 2"),
        (
            lambda _: (200, b'{"data": [{"embedding": [1.0]}, {"embedding": [1.0, 2.0]}]}'),
            "of the sizes [1, 2]",
        ),
    ],
)
async def test_says_what_is_wrong_with_an_answer(answer: Answer, said: str) -> None:
    async with serving(answer) as server:
        embedder = ProviderEmbedder(base_url=server.url, model="m")
        with pytest.raises(Unavailable) as caught:
            await embedder.embed(["a", "b"])
        assert caught.value.reason is Reason.UNREACHABLE
        assert said in caught.value.message
        await embedder.close()


async def test_nobody_there() -> None:
    async with serving(lengths) as server:
        url = server.url
    embedder = ProviderEmbedder(base_url=url, model="m")
    with pytest.raises(Unavailable, match="cannot be reached"):
        await embedder.embed(["a"])
    await embedder.close()
