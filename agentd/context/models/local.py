"""Models that run in the daemon's own process, by xllamacpp: one loaded file, a bounded number of
requests at a time, each in a thread."""

import asyncio
import contextlib
import importlib
import os
import secrets
import tempfile
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from agentd.agent.budget import NO_USAGE, ModelUsage
from agentd.agent.message import (
    AssistantMessage,
    ModelChunk,
    ModelError,
    ModelErrorKind,
    ModelReply,
    ModelRequest,
    StopReason,
    TextDelta,
)
from agentd.context.models.encoding import sound
from agentd.context.models.failures import classify, presentable
from agentd.context.models.settings import ModelSettings, ProviderSettings
from agentd.context.models.steps import StepText, chat, schema

CONTEXT_TOKENS = 8_192
CONCURRENCY_LIMIT = 2
TEMPERATURE = 0.0
"""The likeliest answer: small models wander as soon as they are warmer."""
TOP_P = 0.9
SEED = 1
"""The same question gets the same answer."""
_MAGIC = b"GGUF"
_SILENT = -1

Chunk = dict[str, Any]


class LocalProvider:
    """A model that is loaded from its file."""

    def __init__(self, server: Any, settings: ProviderSettings) -> None:
        self._server = server
        self.name = settings.name
        self.idle_timeout_s = settings.idle_timeout_s
        places = min(max(settings.concurrency, 1), CONCURRENCY_LIMIT)
        self._places = asyncio.BoundedSemaphore(places)
        self._threads = ThreadPoolExecutor(places, thread_name_prefix="model")
        self._closing = threading.Event()

    def model(self, settings: ModelSettings) -> "LocalModel":
        """Return the model."""
        return LocalModel(self, settings)

    async def close(self) -> None:
        """Stop what is being generated and free the memory."""
        self._closing.set()
        await asyncio.to_thread(self._release)

    def _release(self) -> None:
        self._threads.shutdown(wait=True)
        self._server = None

    async def chunks(self, body: Chunk, most: int) -> AsyncGenerator[Chunk, None]:
        """Generate, and yield what the server says, piece by piece.

        Closing the iterator stops the generation at its next token; the place is free again when
        it has stopped. `most` is how many chunks there can be.
        """
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Chunk | None] = asyncio.Queue(most)
        stop = threading.Event()

        def send(chunk: Chunk | None) -> None:
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits.
                loop.call_soon_threadsafe(queue.put_nowait, chunk)

        def deliver(chunk: Chunk) -> bool:
            """Hand over a chunk, in the thread; return whether to stop."""
            if stop.is_set() or self._closing.is_set():
                return True
            send(chunk)
            return False

        def work() -> None:
            try:
                self._server.handle_chat_completions(body, deliver)
            except Exception as error:  # noqa: BLE001  # whatever it is, the waiting side must know
                send({"error": {"code": 500, "message": str(error)}})
            finally:
                send(None)

        await self._places.acquire()
        if self._closing.is_set():
            self._places.release()
            return
        working = loop.run_in_executor(self._threads, work)
        working.add_done_callback(lambda _: self._places.release())
        try:
            while True:
                async with asyncio.timeout(self.idle_timeout_s):
                    chunk = await queue.get()
                if chunk is None:
                    return
                yield chunk
        finally:
            stop.set()


class LocalModel:
    """A model in this process."""

    def __init__(self, provider: LocalProvider, settings: ModelSettings) -> None:
        self._provider = provider
        self._settings = settings

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        """Answer a request: TextDeltas, then one ModelReply. Raises ModelError."""
        body = _body(request)
        try:
            async with contextlib.aclosing(self._answer(request, body)) as answer:
                async for chunk in answer:
                    yield chunk
        except _GrammarError:
            body["response_format"] = _format(request, loose=True)
            async with contextlib.aclosing(self._answer(request, body)) as answer:
                async for chunk in answer:
                    yield chunk

    async def _answer(self, request: ModelRequest, body: Chunk) -> AsyncGenerator[ModelChunk, None]:
        step = StepText() if request.tools else None
        texts: list[str] = []
        finish, usage = "", NO_USAGE
        source = self._provider.chunks(body, request.max_output_tokens * 4 + 64)
        try:
            async with contextlib.aclosing(source) as chunks:
                async for chunk in chunks:
                    _check(chunk, self._provider.name)
                    usage = _usage(chunk) or usage
                    piece, finish = _piece(chunk, finish)
                    text = step.feed(piece) if step else sound(piece)
                    if text:
                        texts.append(text)
                        yield TextDelta(text)
        except TimeoutError:
            raise ModelError(
                ModelErrorKind.TRANSIENT,
                f"{self._provider.name}: no token for {self._provider.idle_timeout_s:g} s",
            ) from None
        if not finish:
            raise ModelError(ModelErrorKind.TRANSIENT, f"{self._provider.name}: it was stopped")
        text, calls = step.finish() if step else ("".join(texts), ())
        stop = StopReason.MAX_TOKENS if finish == "length" else StopReason.END_TURN
        if calls:
            stop = StopReason.TOOL_USE
        yield ModelReply(AssistantMessage(text, calls), stop, usage)


class _GrammarError(Exception):
    """The schema of a step cannot be made into a grammar."""


async def connect(provider: ProviderSettings, model: ModelSettings) -> LocalProvider:
    """Load a model's file in a thread. Raises ModelError (INVALID_REQUEST)."""
    assert model.path is not None
    server = await asyncio.to_thread(_load, model.path, provider, model)
    return LocalProvider(server, provider)


def spare_cores() -> int:
    """Count the physical cores that this process may use, but one (and at least one).

    The threads wait for each other at every step: with one of them held up, the others are too. On
    two cores that were busy already, two threads took ten times as long as one.
    """
    usable = os.sched_getaffinity(0)
    cores = set()
    for number in usable:
        topology = Path(f"/sys/devices/system/cpu/cpu{number}/topology")
        try:
            package = (topology / "physical_package_id").read_text()
            cores.add((package, (topology / "core_id").read_text()))
        except OSError:
            cores.add(("", str(number)))
    return max(len(cores) - 1, 1)


def _load(path: Path, provider: ProviderSettings, model: ModelSettings) -> Any:
    try:
        with path.open("rb") as file:
            sound_file = file.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise ModelError(ModelErrorKind.INVALID_REQUEST, message) from error
    if not sound_file:
        raise ModelError(ModelErrorKind.INVALID_REQUEST, f"{path} is not a GGUF file")
    library = importlib.import_module("xllamacpp")
    places = min(max(provider.concurrency, 1), CONCURRENCY_LIMIT)
    # The library always listens for HTTP as well. It does so on a Unix socket that nobody else can
    # reach, with a key that nobody knows, and which is gone as soon as it has begun.
    with tempfile.TemporaryDirectory(prefix="agentd-model-") as folder:
        params = library.CommonParams()
        params.model.path = str(path)
        params.n_ctx = (model.context_tokens or CONTEXT_TOKENS) * places
        params.n_parallel = places
        threads = provider.threads or spare_cores()
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.hostnames = [f"{folder}/s.sock"]
        params.api_keys = [secrets.token_hex(16)]
        params.n_threads_http = 1
        params.ui = False
        params.warmup = False
        params.fit_params = False  # It would change what was asked for.
        params.cache_ram_mib = 0  # By default up to 8 GiB of old prompts are kept.
        params.verbosity = _SILENT
        try:
            return library.Server(params)
        except RuntimeError as error:
            message = f"{path} cannot be loaded: {error}"
            raise ModelError(ModelErrorKind.INVALID_REQUEST, message) from error


def _body(request: ModelRequest) -> Chunk:
    body: Chunk = {
        "messages": chat(request),
        "max_tokens": request.max_output_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": TEMPERATURE,
        "top_p": TOP_P,
        "seed": SEED,
    }
    if request.tools:
        body["response_format"] = _format(request)
    return body


def _format(request: ModelRequest, *, loose: bool = False) -> Chunk:
    return {
        "type": "json_schema",
        "json_schema": {"schema": schema(request.tools, loose=loose)},
    }


def _check(chunk: Chunk, name: str) -> None:
    """Raise ModelError if a chunk is the server's word for an error."""
    error = chunk.get("error")
    if not error:
        return
    said, code = str(error.get("message")), int(error.get("code") or 500)
    if "grammar" in said or "schema" in said:
        raise _GrammarError(said)
    kind = classify(code, (str(error.get("type")),), said)
    raise ModelError(kind, presentable(f"{name}: {said}", ""))


def _usage(chunk: Chunk) -> ModelUsage | None:
    raw = chunk.get("usage")
    if not raw:
        return None
    cached = (raw.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return ModelUsage(raw["prompt_tokens"], raw["completion_tokens"], cached)


def _piece(chunk: Chunk, finish: str) -> tuple[str, str]:
    choices = chunk.get("choices")
    if not choices:
        return "", finish
    piece = choices[0].get("delta", {}).get("content") or ""
    return piece, choices[0].get("finish_reason") or finish
